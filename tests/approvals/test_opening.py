"""Requests open and close with the engine's waits."""

from __future__ import annotations

import pytest

from approvals.models import ApprovalRequest
from resources.errors import Conflict
from runs import signals
from runs.models import RunEvent
from tests.approvals.conftest import World, digest

pytestmark = pytest.mark.db_matrix


def types(world: World) -> list[str]:
    return list(RunEvent.objects.filter(run=world.run).order_by("seq").values_list("type", flat=True))


def test_a_wait_opens_a_request_with_all_that_the_reviewer_will_see(world: World) -> None:
    request = world.ask(summary="**why**", reviewers={"quorum": 2, "users": ["rita"], "exclude": ["starter", "author"]})
    assert (request.status, request.folder, request.quorum, request.digest) == ("open", "payments", 2, digest())
    assert {u.username for u in request.excluded.all()} == {"olga", "adam"}
    assert [(n.kind, n.name) for n in request.named.all()] == [("user", "rita")]
    event = RunEvent.objects.get(run=world.run)
    assert (event.type, event.step, event.data) == (
        "approval.requested", "approve", {"request": request.pk, "title": "Deploy v1"},
    )  # fmt: skip


def test_other_waits_open_no_request(world: World) -> None:
    signals.wait_opened.send(
        sender=None, run_id=world.run.pk, step="cb", item=-1, pass_no=1, token="t", kind="callback", spec={},
        expires_at=None, now=1.0,
    )  # fmt: skip
    assert not ApprovalRequest.objects.exists()


def test_asking_again_supersedes_the_open_request_and_points_back_to_it(world: World) -> None:
    first = world.ask(now=1.0)
    second = world.ask(now=2.0, digest="other")
    first.refresh_from_db()
    assert (first.status, first.closed_at, second.previous_id) == ("superseded", 2.0, first.pk)
    assert types(world) == ["approval.requested", "approval.superseded", "approval.requested"]


@pytest.mark.parametrize("reason", ["expired", "withdrawn", "superseded"])
def test_a_wait_that_closes_closes_its_request(world: World, reason: str) -> None:
    request = world.ask()
    signals.wait_closed.send(sender=None, token=request.token, reason=reason, now=5.0)
    signals.wait_closed.send(sender=None, token=request.token, reason=reason, now=6.0)
    request.refresh_from_db()
    assert (request.status, request.closed_at) == (reason, 5.0)
    assert types(world) == ["approval.requested", f"approval.{reason}"]


def test_an_open_request_cannot_be_answered_past_its_reviewers(world: World) -> None:
    request = world.ask()
    with pytest.raises(Conflict, match="in no other way"):
        signals.wait_closed.send(sender=None, token=request.token, reason="answered", now=5.0)
    request.refresh_from_db()
    assert request.status == "open"
