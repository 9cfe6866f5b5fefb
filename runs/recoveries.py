"""Which controls a run takes in which state, why not the others, and what each would lead to. Pure.

`TABLE` is the whole truth about states; what depends on the run's steps comes on top in `refusal`. Everything that
offers or refuses a control (the pages, the API, the bulk verbs) reads it here, so none promises what another denies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flows.definition.plan import Plan
from runs.engine import standing
from runs.engine.state import FAILED, NO_ITEM, PENDING, RUN_ENDED, RUNNING, SUCCEEDED, UNKNOWN, WAITING, State, Step

CONTROLS: Final = (
    "pause", "resume", "cancel", "terminate", "retry", "retry_from", "skip", "complete", "outcome", "replay", "fork",
)  # fmt: skip
#: what people do to a run that gave up; shown on its page
RECOVERIES: Final = ("outcome", "retry", "retry_from", "skip", "complete", "replay", "fork")  # what must be said, first
#: these are about one step
OF_STEP: Final = frozenset({"retry_from", "skip", "complete", "outcome", "fork"})
#: these can be asked of many runs at once
BULK: Final = ("pause", "resume", "cancel", "terminate", "retry", "replay")

#: refusal code -> what to do, as a sentence
REFUSALS: Final[Mapping[str, str]] = {
    "run_ended": "The run has ended. Replay it to start anew, or retry it where it failed.",
    "run_active": "The run has not ended. Wait for its end, or cancel it first.",
    "not_started": "The run has not begun: it waits for its place or a worker. Cancel it, or wait until it begins.",
    "already_paused": "The run is paused already. Resume it to go on.",
    "not_paused": "The run is not paused, so there is nothing to resume.",
    "stopping": "The run is being stopped: its last attempts are on their way back. Terminate it to wait for nothing.",
    "already_ending": "The run is coming to its end already. Terminate it to skip what is still to be undone.",
    "nothing_failed": "No step of this run failed. Replay it, or fork it from a step.",
    "was_cancelled": "The run was cancelled, which is final. Replay it, or fork it from a step.",
    "compensated": "What this run did was undone, so its steps cannot go on from there. Replay it to start anew.",
    "outcome_unknown": "First say what became of the step whose outcome is unknown: done, not done, or try it again.",
    "no_unknown_outcome": "No step of this run has an unknown outcome.",
    "no_such_step": "The flow's release has no such step. Choose one that the run's page shows.",
    "approval_step": "Nobody gets past an approval. Retry the run to have it asked again.",
    "not_approved": "This step is protected and was not approved. Retry from it to have the approval asked again.",
    "not_failed": "This step did not fail. Choose one that did.",
    "not_reached": "The run never came to this step. Choose one that it reached.",
    "handler_step": "This step only runs when another one calls it. Choose the step that called it.",
}

_ENDED = dict.fromkeys(RUN_ENDED, "run_ended")
_ACTIVE: Final = ("queued", "running", "waiting", "pausing", "paused", "cancelling", "compensating")
_NOT_ENDED = dict.fromkeys(_ACTIVE, "run_active")
_FINAL = {"succeeded": "nothing_failed", "cancelled": "was_cancelled"}
_BEING_STOPPED = {"queued": "not_started", "cancelling": "stopping", "compensating": "already_ending"}

#: control -> {run status: refusal code}; a status that is not there takes the control
TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "pause": {
        **_ENDED, "queued": "not_started", "pausing": "already_paused", "paused": "already_paused",
        "cancelling": "stopping",
    },
    "resume": {**_ENDED, **dict.fromkeys(("queued", "running", "waiting", "cancelling", "compensating"), "not_paused")},
    "cancel": {**_ENDED, "cancelling": "already_ending", "compensating": "already_ending"},
    "terminate": {**_ENDED},
    "retry": {**_NOT_ENDED, **_FINAL},
    "retry_from": {**_NOT_ENDED, **_FINAL},
    "skip": {**_BEING_STOPPED, **_FINAL},
    "complete": {**_BEING_STOPPED, **_FINAL},
    "outcome": {**_BEING_STOPPED, **_FINAL},
    "replay": {**_NOT_ENDED},
    "fork": {**_NOT_ENDED},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Consequences:
    """Step ids. `again`: run once more; `asked_again`: approvals; `may_repeat`: effects that may happen twice;
    `kept`: outputs that stay; `steps`: those the control can be used on."""

    again: tuple[str, ...] = ()
    asked_again: tuple[str, ...] = ()
    may_repeat: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """`refusal` is "" where it is allowed, else a code of REFUSALS; `sentence` says why not, or what it does."""

    control: str
    step: str = ""
    item: int = NO_ITEM
    refusal: str = ""
    sentence: str = ""
    consequences: Consequences = field(default_factory=Consequences)

    @property
    def allowed(self) -> bool:
        return not self.refusal


# -- may it? -------------------------------------------------------------------------------------------------------
def refusal(plan: Plan, state: State, control: str, step: str = "", item: int = NO_ITEM) -> str:
    """ "" where the run takes the control now, else the code of the reason."""
    code = TABLE[control].get(state.status, "")
    if code:
        return code
    if control in ("cancel", "skip", "complete", "outcome") and state.status not in RUN_ENDED and state.ending:
        return "already_ending"  # paused while it is undone
    if control in ("replay", "pause", "resume", "cancel", "terminate"):
        return ""
    if standing.was_undone(state):
        return "compensated"
    return _of_steps(plan, state, control, step, item)


def _of_steps(plan: Plan, state: State, control: str, step: str, item: int) -> str:
    if control in ("retry", "retry_from") and standing.unknown(plan, state.steps.values()):
        return "outcome_unknown"
    if control == "retry":
        return "" if standing.broken(plan, state.steps.values()) else "nothing_failed"
    if not step:
        return _any_step(plan, state, control)
    known = next((s for s in plan.steps if s.id == step), None)
    if known is None:
        return "no_such_step"
    if known.handler:
        return "handler_step"
    if control in ("retry_from", "fork"):
        return "not_reached" if state.step(step).status == PENDING else ""
    return _of_one_step(plan, state, control, state.step(step, item))


def _any_step(plan: Plan, state: State, control: str) -> str:
    """Is there any step at all that the control could be used on?"""
    if control in ("retry_from", "fork"):
        return "" if any(s.status != PENDING for s in state.steps.values()) else "not_reached"
    if candidates(plan, state, control):
        return ""
    if control == "outcome":
        return "no_unknown_outcome"
    stuck = [s for s in standing.own_steps(plan, state.steps.values()) if s.status in {FAILED, UNKNOWN}]
    return _of_one_step(plan, state, control, stuck[0]) if stuck else "nothing_failed"


def _of_one_step(plan: Plan, state: State, control: str, step: Step) -> str:
    wanted = {"skip": {FAILED}, "complete": {FAILED, UNKNOWN}, "outcome": {UNKNOWN}}[control]
    if plan.step(step.id).family == "approval":
        return "approval_step"
    if step.status not in wanted:
        return "outcome_unknown" if step.status == UNKNOWN else "not_failed"
    return "" if standing.is_approved(plan, state.steps, step) else "not_approved"


def candidates(plan: Plan, state: State, control: str) -> list[Step]:
    """The step runs that `control` could be used on now, in plan order."""
    found = standing.own_steps(plan, state.steps.values())
    if control in ("retry_from", "fork"):
        return [s for s in found if s.item == NO_ITEM and s.status != PENDING]
    return [s for s in found if not _of_one_step(plan, state, control, s)]


# -- what then? ----------------------------------------------------------------------------------------------------
def recoveries(plan: Plan, state: State) -> list[Recovery]:
    """What can be done about this run, in the order of RECOVERIES; those about a step once for each step, or once
    with the refusal where no step takes them."""
    found: list[Recovery] = []
    for control in RECOVERIES:
        code = refusal(plan, state, control)
        if code or control not in OF_STEP:
            found.append(recovery(plan, state, control))
            continue
        found += [recovery(plan, state, control, s.id, s.item) for s in candidates(plan, state, control)]
    return found


def recovery(plan: Plan, state: State, control: str, step: str = "", item: int = NO_ITEM) -> Recovery:
    code = refusal(plan, state, control, step, item)
    if code:
        return Recovery(control, step, item, code, REFUSALS[code])
    return Recovery(control, step, item, "", _SAYS[control], consequences(plan, state, control, step, item))


_SAYS: Final[Mapping[str, str]] = {
    "pause": "Attempts in flight end; nothing new starts. Answers are kept, deadlines keep running.",
    "resume": "It goes on where it stopped, with what was decided meanwhile.",
    "cancel": "Attempts in flight end, open approvals are withdrawn, and what the steps declare is undone.",
    "terminate": "It ends at once: nothing is waited for and nothing is undone.",
    "retry": "Failed steps are tried again on the same release; what succeeded stays.",
    "retry_from": "This step and all that depends on it run again in a new pass; their approvals are asked again.",
    "skip": "The step is passed over; what depends on it goes on without its output.",
    "complete": "The step counts as succeeded with the output you give.",
    "outcome": "Say what became of it: it happened, it did not happen, or it is to be tried again.",
    "replay": "A new run with the same or a changed input; this one stays as it is.",
    "fork": "A new run that begins at this step, with what came before it kept.",
}


def consequences(plan: Plan, state: State, control: str, step: str = "", item: int = NO_ITEM) -> Consequences:
    """Of a control that is allowed."""
    if control == "replay":
        ran = [s.id for s in plan.steps if not s.handler]
        return _consequences(plan, state, ran, {s.id for s in plan.steps if s.family == "approval"}, new_keys=True)
    if control == "fork":
        kept = {s.id for s in standing.kept_by_fork(plan, state, step)}
        again = [s.id for s in plan.steps if s.id not in kept and not s.handler]
        asked = {s.id for s in plan.steps if s.family == "approval" and s.id in again}
        return _consequences(plan, state, again, asked, new_keys=True, kept=kept)
    if control == "retry_from":
        below = standing.depending_on(plan, step)
        asked = standing.asked_again(plan, below) | {s for s in below if plan.step(s).family == "approval"}
        return _consequences(plan, state, below | asked, asked, new_keys=True)
    if control == "retry":
        failed = {s.id for s in standing.broken(plan, state.steps.values())}
        return _consequences(plan, state, failed, {s for s in failed if plan.step(s).family == "approval"})
    if control == "outcome":
        return Consequences(may_repeat=(step,))
    return Consequences()


def _consequences(
    plan: Plan, state: State, again: Iterable[str], asked: set[str], *, new_keys: bool = False, kept: Iterable[str] = ()
) -> Consequences:
    """With a new idempotency key whatever succeeded or may have acted can happen twice; with the same one, only what
    may have acted."""
    ids, left = set(again), set(kept)
    order = [s.id for s in plan.steps]
    acted = {name for (name, _), s in state.steps.items() if name in ids and _may_repeat(s, new_keys)}
    repeat = [s for s in order if s in acted and plan.step(s).family not in _HARMLESS]
    return Consequences(
        tuple(s for s in order if s in ids), tuple(s for s in order if s in asked), tuple(repeat),
        tuple(s for s in order if s in left),
    )  # fmt: skip


#: families that have no effect on the outside
_HARMLESS: Final = frozenset({"function", "sleep", "wait", "approval", "route"})


def _may_repeat(step: Step, new_keys: bool) -> bool:
    if new_keys:
        return step.acted or step.status in {SUCCEEDED, UNKNOWN}
    return step.acted and step.status != SUCCEEDED


def goes_on_while_paused(state: State) -> dict[str, list[str]]:
    """What a pause does not stop: attempts in flight, waits that are open (with their deadlines). Step ids."""
    by_status: dict[str, list[str]] = {RUNNING: [], WAITING: []}
    for (step_id, item), step in sorted(state.steps.items()):
        if step.status in by_status:
            by_status[step.status].append(step_id if item == NO_ITEM else f"{step_id}[{item}]")
    return {"in_flight": by_status[RUNNING], "waits": by_status[WAITING]}
