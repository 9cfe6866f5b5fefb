"""What people do to a run: pause, resume, cancel, terminate, and what helps one that failed.

Each decides through the pure core on the run as it is, and saves that, the history and the audit entry in one
transaction under the run's version. What a control may do in which state is said by runs/recoveries.py alone.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from django.db import transaction

from flows.definition.inputs import JsonError, validate_input
from resources import audit
from resources.access import Actor, require_on
from resources.errors import BadInput, Conflict, NotFound
from resources.models import Role
from runs import acting, attempts, bell, clock, history, limits, recoveries, signals, store
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import NO_ITEM, RUN_ENDED, State
from runs.models import Run
from runs.store import Loaded

Json = Any
#: tries of a control to save on what it read, before it takes the run's lock first
FREE_TRIES: Final = 3
#: characters of a reason
MAX_REASON: Final = 1000


def cancel_run(*, actor: Actor, run_id: str, reason: str = "") -> Run:
    """Stop what holds no worker, let attempts in flight end, undo what the steps declare; then the run is cancelled.

    Raises NotFound, NotAllowed, Conflict with a code of recoveries.REFUSALS.
    """
    return _control(actor, run_id, "cancel", reason, given.CancelRequested(actor.name, reason))


def pause_run(*, actor: Actor, run_id: str, reason: str = "") -> Run:
    """Attempts in flight end, nothing new starts, answers are kept. Raises as cancel_run."""
    return _control(actor, run_id, "pause", reason, given.PauseRequested(actor.name, reason))


def resume_run(*, actor: Actor, run_id: str, reason: str = "") -> Run:
    """Go on where a pause stopped. Raises as cancel_run."""
    return _control(actor, run_id, "resume", reason, given.Resumed(actor.name, reason))


def terminate_run(*, actor: Actor, run_id: str, reason: str = "") -> Run:
    """End now: wait for nothing, undo nothing, refuse what attempts in flight still say. Raises as cancel_run."""
    return _control(actor, run_id, "terminate", reason, given.TerminateRequested(actor.name, reason))


def retry_run(*, actor: Actor, run_id: str, reason: str = "") -> Run:
    """Reopen a run that gave up, at its failed steps, with their keys. Raises as cancel_run."""
    return _control(actor, run_id, "retry", reason, given.RetryRequested(actor.name, reason))


def retry_run_from(*, actor: Actor, run_id: str, step: str, reason: str = "") -> Run:
    """Reopen a run that gave up; this step and all that depends on it run in a new pass, and the approvals that
    protect any of them are asked again. Raises as cancel_run."""
    event = given.RetryFromRequested(step, actor.name, reason)
    return _control(actor, run_id, "retry_from", reason, event, step=step)


def skip_step(*, actor: Actor, run_id: str, step: str, item: int | None = None, reason: str = "") -> Run:
    """Pass over a failed step (or one item of a fan-out): what needs it goes on. Raises as cancel_run."""
    at = NO_ITEM if item is None else item
    event = given.SkipRequested(step, at, actor.name, reason)
    return _control(actor, run_id, "skip", reason, event, step=step, item=at)


def complete_step(
    *, actor: Actor, run_id: str, step: str, output: Json, item: int | None = None, reason: str = ""
) -> Run:
    """A failed or unknown step counts as succeeded with this output. Raises as cancel_run; BadInput
    `invalid_output` with [{path, message}] where it breaks the step's output schema."""
    at = NO_ITEM if item is None else item
    event = given.CompleteRequested(step, at, output, actor.name, reason)
    return _control(actor, run_id, "complete", reason, event, step=step, item=at)


def say_outcome(
    *, actor: Actor, run_id: str, step: str, outcome: str, output: Json = None, item: int | None = None,
    reason: str = "",
) -> Run:  # fmt: skip
    """What became of a step whose outcome is unknown: `done` (with its output), `not_done` (it failed) or `again`
    (the same attempt once more, which may then happen twice). Raises as complete_step; BadInput `bad_outcome`."""
    if outcome not in ("done", "not_done", "again"):
        raise BadInput("An outcome is done, not_done or again.", code="bad_outcome")
    at = NO_ITEM if item is None else item
    event = given.OutcomeSaid(step, at, outcome, output if outcome == "done" else None, actor.name, reason)
    return _control(actor, run_id, "outcome", reason, event, step=step, item=at)


# -- carrying it out -----------------------------------------------------------------------------------------------
def find(actor: Actor, run_id: str) -> tuple[Run, Loaded]:
    """The run and its state, for somebody who operates it. Raises NotFound, NotAllowed."""
    loaded = store.load(run_id)
    run = Run.objects.select_related("flow", "release").filter(pk=run_id).first()
    if loaded is None or run is None:
        raise NotFound("There is no such run.", code="run_not_found")
    require_on(actor, Role.OPERATOR, run.flow.folder, "There is no such run.", "run_not_found")
    return run, loaded


def check(loaded: Loaded, control: str, step: str = "", item: int = NO_ITEM) -> None:
    """Raises Conflict where the run does not take this control now, with the code and the sentence of why."""
    code = recoveries.refusal(loaded.plan, loaded.state, control, step, item)
    if code:
        details = {"status": loaded.state.status} | ({"step": step} if step else {})
        raise Conflict(recoveries.REFUSALS[code], code=code, details=details)


def _control(
    actor: Actor, run_id: str, control: str, reason: str, event: given.Input, *, step: str = "", item: int = NO_ITEM
) -> Run:
    if len(reason) > MAX_REASON:
        raise BadInput(f"A reason has at most {MAX_REASON} characters.", code="bad_reason")
    for _ in range(FREE_TRIES):
        with contextlib.suppress(store.Stale):
            return _once(actor, run_id, control, reason, event, step, item)
    # a wide fan-out moves faster than its run can be read: hold it, or nobody could ever stop it
    with transaction.atomic():
        Run.objects.select_for_update().filter(pk=run_id).values_list("pk").first()
        return _once(actor, run_id, control, reason, event, step, item)


def _once(
    actor: Actor, run_id: str, control: str, reason: str, event: given.Input, step: str, item: int
) -> Run:  # fmt: skip
    """Raises Stale when the run moved meanwhile."""
    _, loaded = find(actor, run_id)
    check(loaded, control, step, item)
    _check_output(loaded, event)
    now = clock.now()
    decision = decide(loaded.plan, loaded.state, event, now, urls=acting.urls_of(loaded.plan, loaded.state))
    if not decision.accepted:  # the table lets through only what the core takes; a bug of ours otherwise
        message = f"A run that is {loaded.state.status} cannot do that."
        raise Conflict(message, code="not_possible", details={"status": loaded.state.status})
    with transaction.atomic():
        store.save(loaded, store.Save([decision], now))
        if loaded.state.status in RUN_ENDED and decision.state.status == "queued":
            _queue_again(decision.state, now)
            signals.run_reopened.send(sender=Run, run_id=run_id, flow_id=loaded.flow_id, trigger=loaded.state.trigger)
        data = {"reason": reason} | ({"step": step} if step else {})
        audit.record(actor=actor, action=f"run.{control}", object_type="run", object_id=run_id, data=data)
    return Run.objects.select_related("flow", "release").get(pk=run_id)


def _queue_again(state: State, now: float) -> None:
    """Its place was freed when it gave up: it stands in line once more, and a pause of its flow holds it, too."""
    Run.objects.filter(pk=state.run_id).update(placed=False)
    history.append(state.run_id, "run.queued", data={"reopened": True})
    limits.admit_later(state.run_id, now)
    bell.ring_on_commit(bell.WORK, bell.EVENTS)


def _check_output(loaded: Loaded, event: given.Input) -> None:
    """What a person gives as a step's output must be what the step would have given, and no larger."""
    if not isinstance(event, given.CompleteRequested | given.OutcomeSaid):
        return
    if isinstance(event, given.OutcomeSaid) and event.outcome != "done":
        return
    plan = loaded.plan.step(event.step)
    schema = plan.output_schema or {}
    if plan.for_each is not None and event.item == NO_ITEM:  # the whole of a fan-out: one output an item
        schema = {"type": "array", "items": schema}
    try:
        attempts.check_size(event.output)
        problems = validate_input(schema, event.output)
    except (JsonError, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"The output cannot be kept: {error}", code="invalid_output") from error
    if problems:
        raise BadInput("The output breaks the step's output schema.", code="invalid_output", details=problems)
