"""Resources go when their time is over, and never while an open run or approval needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from approvals.models import ApprovalRequest, Decision
from flows.models import Flow, Release
from resources import artifacts, keeping
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.keeping import COOLING, Duty
from resources.models import Artifact, AuditEntry, Blob, ResourceUse
from runs import holding
from runs.large import storable
from runs.models import Run, RunEvent, StepRun, WaitToken
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
NOW = 1_800_000_000.0
OPS = Actor.system("test")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"


def expiring(**more: Any) -> Artifact:
    return artifacts.write([b"bytes"], content_type="text/plain", keep="until", keep_until=NOW - 1, **more)


def passed() -> bool:
    """Both steps of the duty, an hour apart; is the resource gone with its bytes?"""
    Duty().turn(NOW)
    Duty().turn(NOW + COOLING + 1)
    gone = not Artifact.objects.exists()
    assert Blob.objects.exists() is not gone
    return gone


def test_what_is_over_goes_with_its_bytes_and_an_audit_entry() -> None:
    made = expiring()
    Duty().turn(NOW)
    with pytest.raises(NotFound):
        artifacts.get(made.pk)
    assert Artifact.objects.exists()
    assert passed()
    assert AuditEntry.objects.get(action="resources.deleted").data == {"resources": [made.pk]}


@pytest.mark.parametrize("change", [{"pinned": True}, {"keep": "forever"}, {"keep": "until", "keep_until": NOW + 9e6}])
def test_what_is_pinned_kept_for_ever_or_for_longer_stays(change: dict[str, Any]) -> None:
    keeping.update_resource(actor=OPS, artifact_id=expiring().pk, **change)
    assert not passed()


def in_input(run: Run, address: str) -> None:
    Run.objects.filter(pk=run.pk).update(input={"file": address})


def in_a_step(run: Run, address: str) -> None:
    StepRun.objects.create(run=run, step="x", status="succeeded", version=1, output={"$res": address})


def in_history(run: Run, address: str) -> None:
    RunEvent.objects.create(run=run, seq=9999, type="note", at=1.0, data={"deep": [{"er": f"see {address}."}]})


def in_an_early_answer(run: Run, address: str) -> None:
    WaitToken.objects.create(token="t-early", run=run, step="y", kind="callback", status="early", answer=[address])


def used(run: Run, address: str) -> None:
    holding.use(address.removeprefix("res://"), run.pk)


def in_the_text_of_its_release(run: Run, address: str) -> None:
    flow = Flow.objects.create(slug="literal", title="Literal", folder="payments")
    facts = Release.objects.filter(pk=run.release_id).values("language", "plan_json", "checksum", "revision").get()
    row = Release.objects.create(flow=flow, version="1.0.0", source=f"with: {{file: {address}}}", **facts)
    other = Run.objects.get(pk=run.pk)
    Run.objects.filter(pk=run.pk).update(release=row)
    assert address not in str(other.input)


def in_a_large_output(run: Run, address: str) -> None:
    kept, _ = storable({"rows": ["x" * 70_000, {"see": address}]}, run.pk, "x", "payments")
    assert list(kept) == ["$res", "size", "sha256", "content_type"]


PLACES = [in_input, in_a_step, in_history, in_an_early_answer, used, in_the_text_of_its_release, in_a_large_output]


@pytest.mark.parametrize("name", PLACES)
def test_an_open_run_holds_what_it_names_wherever_it_does(
    name: Callable[[Run, str], None], place: dict[str, Any]
) -> None:
    run, made = place["running"].run, expiring()
    name(run, str(made))
    assert not passed()
    with pytest.raises(Conflict, match=f"{run.pk}|open runs of flow literal 1.0.0"):
        keeping.delete_resource(actor=OPS, artifact_id=made.pk, now=NOW)
    Run.objects.filter(pk=run.pk).update(status="succeeded", ended_at=NOW)
    ApprovalRequest.objects.all().delete()
    Duty().turn(NOW)
    Duty().turn(NOW + COOLING + 1)
    assert not Artifact.objects.filter(pk=made.pk).exists()


def test_an_open_run_and_a_dead_letter_hold_what_they_made(place: dict[str, Any]) -> None:
    run = place["running"].run
    expiring(run_id=run.pk)
    assert not passed()
    Run.objects.filter(pk=run.pk).update(status="failed", ended_at=NOW, dead_at=NOW)
    assert not passed()
    Run.objects.filter(pk=run.pk).update(dead_at=None)
    assert passed()


def test_an_open_approval_holds_what_its_reviewers_are_shown(place: dict[str, Any]) -> None:
    made = expiring()
    request = place["main"]
    Run.objects.filter(pk=request.run_id).update(status="succeeded", ended_at=NOW)
    actions = [{"config": {"rows": {"$res": str(made)}}}]
    ApprovalRequest.objects.filter(pk=request.pk).update(actions=actions, status="open")
    assert not passed()
    ApprovalRequest.objects.filter(pk=request.pk).update(status="rejected")
    assert passed()


def test_an_open_approval_holds_what_a_vote_names_that_is_not_the_last(place: dict[str, Any]) -> None:
    made, request = expiring(), place["main"]
    Run.objects.filter(pk=request.run_id).update(status="succeeded", ended_at=NOW)
    person = place["people"]["ana"]
    Decision.objects.create(
        request=request, person=person, verdict="approve", digest=request.digest, form={"evidence": [str(made)]}, at=NOW
    )
    assert not passed()
    ApprovalRequest.objects.filter(pk=request.pk).update(status="rejected")
    assert passed()


def test_what_a_run_began_to_name_while_it_was_condemned_can_be_read_and_is_given_back(place: dict[str, Any]) -> None:
    made = expiring()
    Duty().turn(NOW)
    with pytest.raises(NotFound):
        artifacts.get(made.pk)
    in_input(place["running"].run, str(made))
    assert artifacts.read(artifacts.get(made.pk)) == b"bytes"
    holding.use(made.pk, place["waiting"].run.pk)
    with pytest.raises(Conflict, match="in use"):
        keeping.delete_resource(actor=OPS, artifact_id=made.pk, now=NOW)
    Duty().turn(NOW + COOLING + 1)
    assert artifacts.get(made.pk).pk == made.pk


def test_a_run_cannot_begin_to_read_what_is_being_deleted(place: dict[str, Any]) -> None:
    made = expiring()
    Duty().turn(NOW)
    with pytest.raises(NotFound), transaction.atomic():
        holding.use(made.pk, place["running"].run.pk)
    assert not ResourceUse.objects.exists()


def test_held_ones_do_not_keep_those_behind_them_from_going(place: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(keeping, "BATCH", 2)
    for _ in range(3):
        expiring(run_id=place["running"].run.pk)
    free = expiring()
    duty = Duty()
    for turn in range(3):
        duty.turn(NOW + turn)
    assert set(Artifact.objects.filter(condemned_at__isnull=False).values_list("pk", flat=True)) == {free.pk}


def test_only_operators_of_its_folder_change_or_delete_it() -> None:
    made = expiring(folder="payments")
    for folder, role, refusal in (("payments", "viewer", NotAllowed), ("ops", "admin", NotFound)):
        actor = Actor.of_user(make_user(f"u-{role}", role, folder=folder))
        with pytest.raises(refusal):
            keeping.delete_resource(actor=actor, artifact_id=made.pk, now=NOW)
        with pytest.raises(refusal):
            keeping.update_resource(actor=actor, artifact_id=made.pk, pinned=True)
    keeping.update_resource(actor=OPS, artifact_id=made.pk, pinned=True)
    with pytest.raises(Conflict, match="pinned"):
        keeping.delete_resource(actor=OPS, artifact_id=made.pk, now=NOW)


BAD: list[dict[str, Any]] = [
    {"keep": "run"},
    {"keep": "soon"},
    {"keep": "until"},
    {"keep": "forever", "keep_until": NOW},
    {"labels": {"Bad": "x"}},
    {"labels": {"a": 1}},
    {"labels": {"a": "x" * 101}},
    {"labels": {"a": "\n"}},
    {"labels": {f"a{n}": "" for n in range(21)}},
]


@pytest.mark.parametrize("change", BAD)
def test_changes_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        keeping.update_resource(actor=OPS, artifact_id=expiring().pk, **change)
