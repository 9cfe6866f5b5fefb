"""Answers from outside to what a run waits for: a callback's body, a person's decision, a child's end.

A delivery is a plain row change in one transaction; a worker decides what follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import transaction

from flows.definition import waiting
from flows.definition.plan import StepPlan
from resources.access import Actor
from runs import bell, clock, history, store, tokens, waits
from runs.large import storable
from runs.models import Run, WaitToken
from runs.named import matching
from runs.queue_rows import Line

Json = Any


@dataclass(frozen=True, slots=True)
class Delivery:
    """outcome: accepted | early (kept for a wait that opens later) | duplicate | late | unknown | refused.

    Refused: the body breaks the schema the wait declares, as `problems` say ([{path, message}]); the wait stays open.
    """

    outcome: Literal["accepted", "early", "duplicate", "late", "unknown", "refused"]
    response: Json = None
    problems: Sequence[Json] = ()


def deliver(*, token: str, payload: Json, actor: Actor, response: Json = None) -> Delivery:
    """Answer a wait. The first answer counts; a duplicate gets the same `response` as the first one did.

    May be called inside the caller's transaction. Locks the run, then the token.
    """
    address = tokens.read(token)
    if address is None:
        return Delivery("unknown")
    clock.measure(every=clock.TRUST)  # whether the answer is late is the database's clock's to say
    with transaction.atomic():
        run = Run.objects.select_for_update(of=("self",)).select_related("flow").filter(pk=address.run_id).first()
        if run is None:
            return _of_a_run_that_is_gone(token)
        plan = store.plan_of(run.release_id)
        if address.step_index >= len(plan.steps):
            return Delivery("unknown")
        step = plan.steps[address.step_index]
        if not _may_answer(step, actor):
            return Delivery("unknown")
        row = waits.lock_token(token, run.pk, step.id, address.item, address.pass_no, "callback")
        outcome = _place(run, row)
        problems = _refused(step, payload) if outcome in {"accepted", "early"} else []
        if problems:
            outcome = "refused"
        elif outcome in {"accepted", "early"}:
            kept, _ = storable(_as_output(step, payload), run.pk, step.id, run.flow.folder)
            row.answer, row.response, row.answered_at = kept, response, clock.now()
            if outcome == "accepted":
                row.status = WaitToken.Status.ANSWERED
                held = run.control.get("paused") is not None
                line = Line(run.flow_id, run.priority, row.answered_at)
                waits.wake(plan, run.pk, step.id, address.item, row.answered_at, held=held, line=line)
                bell.ring_on_commit(bell.WORK)
            row.save(update_fields=["answer", "response", "answered_at", "status"])
        _record(row, outcome, actor, problems)
    return Delivery(outcome, row.response, problems)  # type: ignore[arg-type]


def _of_a_run_that_is_gone(token: str) -> Delivery:
    """Retention deleted the run; its tokens outlive it for a while."""
    row = WaitToken.objects.filter(pk=token).first()
    if row is None:
        return Delivery("unknown")
    return Delivery("late") if row.answered_at is None else Delivery("duplicate", row.response)


def _place(run: Run, row: WaitToken) -> str:
    if row.answered_at is not None:
        return "duplicate"
    if run.ended or row.status == WaitToken.Status.CLOSED:
        return "late"
    if row.expires_at is not None and clock.now() > row.expires_at:
        return "late"
    return "accepted" if row.status == WaitToken.Status.OPEN else "early"


def _may_answer(step: StepPlan, actor: Actor) -> bool:
    """A callback only what waits for one, a person also an approval; how a child ended is nobody's to say."""
    if step.family == "approval":
        return actor.kind in {"user", "token"}
    return step.family == waiting.FAMILY and waiting.callback_of(step.config) is not None


def callback_of(token: str) -> Mapping[str, Json] | None:
    """The config of the callback that this token answers; None where there is no such wait."""
    address = tokens.read(token)
    release = None
    if address is not None:
        release = Run.objects.filter(pk=address.run_id).values_list("release_id", flat=True).first()
    if address is None or release is None:
        return None
    steps = store.plan_of(release).steps
    found = waiting.callback_of(steps[address.step_index].config) if address.step_index < len(steps) else None
    return None if found is None else found[1]


def _as_output(step: StepPlan, payload: Json) -> Json:
    """What the answer makes the step give: where it was one of several, with which it was."""
    found = waiting.callback_of(step.config) if step.family == waiting.FAMILY else None
    return payload if found is None or found[0] == waiting.ALONE else {"which": found[0], "value": payload}


def _refused(step: StepPlan, payload: Json) -> list[dict[str, Json]]:
    """What is wrong with the body of a callback, as far as its wait declares one."""
    found = waiting.callback_of(step.config) if step.family == waiting.FAMILY else None
    return matching.breaches(found[1].get("schema"), payload) if found is not None else []


def _record(row: WaitToken, outcome: str, actor: Actor, problems: Sequence[Json] = ()) -> None:
    if row.kind not in ("callback", "first"):
        return  # whoever owns the wait writes its own entry
    name = {"accepted": "received", "early": "received"}.get(outcome, outcome)
    data: dict[str, Json] = {"early": True} if outcome == "early" else {}
    if problems:
        data = {"problems": list(problems)}
    history.append(row.run_id, f"callback.{name}", step=row.step, item=row.item, actor=actor.name, data=data)
