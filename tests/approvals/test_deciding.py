"""decide_request: what it records, and everything it refuses."""

from __future__ import annotations

import time
from typing import Any

import pytest

from approvals.actions import decide_request, preview
from approvals.models import ApprovalRequest, Decision
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound, OrchestraError
from resources.models import AuditEntry
from runs.models import Run, RunEvent
from tests.approvals.conftest import Engine, World, action, digest

FORM = {"type": "object", "properties": {"window": {"enum": ["now", "tonight"], "default": "now"}}}
pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.db_matrix]


def decide(world: World, request: ApprovalRequest, name: str = "rita", **more: Any) -> ApprovalRequest:
    kwargs: dict[str, Any] = {"verdict": "approve", "digest": digest(), **more}
    return decide_request(actor=kwargs.pop("actor", None) or world.actor(name), request_id=request.pk, **kwargs)


def refused(kind: type[OrchestraError], world: World, request: ApprovalRequest, **more: Any) -> OrchestraError:
    """The refusal, and that nothing was written."""
    before = (Decision.objects.count(), RunEvent.objects.count(), AuditEntry.objects.count())
    with pytest.raises(kind) as caught:
        decide(world, request, **more)
    assert (Decision.objects.count(), RunEvent.objects.count(), AuditEntry.objects.count()) == before
    return caught.value


def events(run: Run, kind: str) -> list[Any]:
    return [e.data for e in RunEvent.objects.filter(run=run, type=kind).order_by("seq")]


def test_an_approval_answers_the_wait_once_with_what_was_approved(world: World, engine: Engine) -> None:
    request = world.ask()
    done = decide(world, request, comment=" fine ")
    assert done.status == "approved"
    assert engine.delivered == [
        {
            "token": request.token,
            "decision": "approved",
            "digest": digest(),
            "by": ["rita"],
            "comment": "fine",
            "form": {},
        }
    ]
    stored = ApprovalRequest.objects.get(pk=request.pk)
    assert stored.status == "approved"
    assert stored.closed_at is not None
    [event] = events(world.run, "approval.decided")
    assert (event["request"], event["verdict"], event["by"], event["digest"]) == (
        request.pk,
        "approve",
        "rita",
        digest(),
    )


def test_the_audit_log_keeps_what_was_seen(world: World) -> None:
    decide(world, world.ask(), comment="fine")
    entry = AuditEntry.objects.get(action="approval.approve")
    assert entry.actor == "rita"
    assert entry.data["seen"]["actions"] == action()
    assert entry.data["comment"] == "fine"


def test_a_rejection_needs_a_reason_and_ends_the_request(world: World, engine: Engine) -> None:
    request = world.ask(reviewers={"quorum": 2})
    assert refused(BadInput, world, request, verdict="reject").details[0]["path"] == ["comment"]
    assert decide(world, request, verdict="reject", comment="too late in the day").status == "rejected"
    assert engine.delivered[0]["decision"] == "rejected"
    assert engine.delivered[0]["by"] == ["rita"]


def test_a_quorum_of_two_needs_two_people(world: World, engine: Engine) -> None:
    request = world.ask(reviewers={"quorum": 2})
    assert decide(world, request, "rita").status == "open"
    assert engine.delivered == []
    again = refused(Conflict, world, request, name="rita")
    assert again.stable_code == "already_decided"
    assert again.details["decision"]["by"] == "rita"
    assert decide(world, request, "rolf").status == "approved"
    assert engine.delivered[0]["by"] == ["rita", "rolf"]
    assert [e["missing"] for e in events(world.run, "approval.decided")] == [1, 0]


def test_a_decision_on_a_decided_request_shows_the_first(world: World) -> None:
    request = world.ask()
    decide(world, request, "rita", comment="yes")
    late = refused(Conflict, world, request, name="rolf")
    assert late.stable_code == "already_decided"
    assert late.details["decision"] | {"at": 0} == {"by": "rita", "decision": "approve", "digest": digest(), "at": 0}


@pytest.mark.parametrize(
    ("name", "reviewers", "code"),
    [
        ("vera", {}, "not_a_reviewer"),
        ("olga", {"exclude": ["starter", "author"]}, "excluded_starter"),
        ("adam", {"exclude": ["starter", "author"]}, "excluded_author"),
        ("rita", {"groups": ["managers"]}, "not_a_reviewer"),
        ("rita", {"users": ["rolf"]}, "not_a_reviewer"),
    ],
)
def test_who_may_not_decide_is_told_why(world: World, name: str, reviewers: dict[str, Any], code: str) -> None:
    error = refused(NotAllowed, world, world.ask(reviewers=reviewers), name=name)
    assert error.stable_code == code


@pytest.mark.parametrize("reviewers", [{}, {"users": ["otto"]}])
def test_to_who_may_not_view_the_folder_the_request_is_not_there(world: World, reviewers: dict[str, Any]) -> None:
    assert refused(NotFound, world, world.ask(reviewers=reviewers), name="otto").stable_code == "not_found"


@pytest.mark.parametrize(
    ("name", "reviewers"), [("olga", {}), ("rolf", {"groups": ["managers"]}), ("rita", {"users": ["rita"]})]
)
def test_who_may_decide_can(world: World, name: str, reviewers: dict[str, Any]) -> None:
    assert decide(world, world.ask(reviewers=reviewers), name).status == "approved"


def test_an_admin_is_bound_by_exclusions(world: World) -> None:
    olga = world.users["olga"]
    olga.is_superuser = True
    olga.save(update_fields=["is_superuser"])
    assert refused(NotAllowed, world, world.ask(reviewers={"exclude": ["starter"]}), name="olga").stable_code == (
        "excluded_starter"
    )


def test_machines_never_decide_and_tokens_act_as_their_user(world: World) -> None:
    request = world.ask(reviewers={"quorum": 2})
    for machine in (Actor.system("worker"), Actor("trigger", "hook", world.users["rita"], scopes=("reviewer:",))):
        assert refused(NotAllowed, world, request, actor=machine).stable_code == "not_a_person"
    decide(world, request, actor=world.actor("rita", "token"))
    assert refused(Conflict, world, request, name="rita").stable_code == "already_decided"


def test_somebody_who_left_cannot_decide(world: World) -> None:
    request = world.ask()
    world.users["rita"].is_active = False
    world.users["rita"].save(update_fields=["is_active"])
    assert refused(NotFound, world, request).stable_code == "not_found"


def test_a_stale_digest_is_refused_with_the_current_one(world: World) -> None:
    error = refused(Conflict, world, world.ask(), digest="seen-yesterday")
    assert (error.stable_code, error.details) == ("stale_digest", {"digest": digest()})


@pytest.mark.parametrize(
    "bad", [{"verdict": "maybe"}, {"digest": ""}, {"comment": "x" * 10_001}, {"form": {"a": 1}}, {"form": [1]}]
)
def test_a_decision_that_cannot_be_used_is_refused(world: World, bad: dict[str, Any]) -> None:
    assert refused(BadInput, world, world.ask(), **bad).details


def test_an_unknown_request_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        decide_request(actor=world.actor("rita"), request_id="nope", verdict="approve", digest="x")


def test_time_decides_about_expiry_even_before_its_timer_fires(world: World) -> None:
    request = world.ask(expires_at=time.time() + 100)
    error = refused(Conflict, world, request, now=time.time() + 101)
    assert (error.stable_code, error.details) == ("closed", {"status": "expired"})
    assert decide(world, request, now=time.time() + 99).status == "approved"


def test_nothing_is_kept_when_the_run_does_not_take_the_answer(world: World, engine: Engine) -> None:
    engine.outcome = "late"
    request = world.ask()
    assert refused(Conflict, world, request).stable_code == "closed"
    assert ApprovalRequest.objects.get(pk=request.pk).status == "open"


# -- forms -----------------------------------------------------------------------------------------------------


def test_a_form_value_that_changes_the_action_changes_what_is_approved(world: World, engine: Engine) -> None:
    request = world.ask(form=FORM)
    tonight = {"window": "tonight"}
    stale = refused(Conflict, world, request, form=tonight)
    assert (stale.stable_code, stale.details) == ("stale_digest", {"digest": digest("tonight")})
    decide(world, request, form=tonight, digest=digest("tonight"))
    assert (engine.delivered[0]["digest"], engine.delivered[0]["form"]) == (digest("tonight"), tonight)
    assert engine.delivered[0]["actions"] == action("tonight"), "the engine is told what was approved"
    assert ApprovalRequest.objects.get(pk=request.pk).actions == action("tonight")
    assert engine.delivered[0]["actions"] == action("tonight"), "the run grants what was approved, not what was asked"


def test_a_changed_action_voids_earlier_votes_and_asks_those_people_again(world: World, engine: Engine) -> None:
    request = world.ask(form=FORM, reviewers={"quorum": 2})
    decide(world, request, "rita")
    changed = decide(world, request, "rolf", form={"window": "tonight"}, digest=digest("tonight"))
    assert (changed.status, changed.digest) == ("open", digest("tonight"))
    assert events(world.run, "approval.decided")[-1]["void"] == ["rita"]
    assert refused(Conflict, world, request, name="rita").stable_code == "stale_digest"
    assert decide(world, request, "rita", digest=digest("tonight")).status == "approved"
    assert engine.delivered[0]["by"] == ["rolf", "rita"]
    assert engine.delivered[0]["form"] == {"window": "tonight"}, "who fills in nothing keeps what was chosen"
    assert engine.delivered[0]["actions"] == action("tonight"), "and the last vote hands on what the first one chose"


def test_form_values_are_checked(world: World) -> None:
    error = refused(BadInput, world, world.ask(form=FORM), form={"window": "never"})
    assert error.details[0]["path"] == ["window"]


def test_a_form_is_resolved_again_when_the_run_moves_meanwhile(world: World, engine: Engine) -> None:
    request = world.ask(form=FORM)
    seen: list[int] = []

    def move() -> None:
        if len(seen) < 2:
            Run.objects.filter(pk=world.run.pk).update(version=len(seen) + 10)
        seen.append(1)

    engine.on_preview = move
    assert decide(world, request).status == "approved"
    assert len(seen) == 3


def test_a_run_that_never_stands_still_is_a_conflict_not_a_loop(world: World, engine: Engine) -> None:
    request = world.ask(form=FORM)
    versions = iter(range(100, 200))

    def move() -> None:
        Run.objects.filter(pk=world.run.pk).update(version=next(versions))

    engine.on_preview = move
    assert refused(Conflict, world, request).stable_code == "busy"


def test_preview_shows_the_action_and_changes_nothing(world: World) -> None:
    request = world.ask(form=FORM)
    shown = preview(actor=world.actor("vera"), request_id=request.pk, form={"window": "tonight"})
    assert shown == (action("tonight"), digest("tonight"))
    assert ApprovalRequest.objects.get(pk=request.pk).digest == digest()
    with pytest.raises(NotFound):
        preview(actor=world.actor("otto"), request_id=request.pk, form={})
