"""What must hold of every run afterwards. Each breach is one line that names the run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runs import store
from runs.engine.state import State
from runs.engine.turn import Event
from runs.models import Run, RunEvent, Work
from tests.chaos.faults import Kill, Span
from tests.engine.fold import fold

#: a run that failed for one of these waits for a person, who says what happened
GAVE_UP = frozenset({"unknown_outcome", "lost"})
#: an attempt that ended so may have acted although nobody heard of it
UNHEARD = frozenset({"network", "timeout", "lost", "cancelled", "stalled", "internal"})


def breaches_of(run: Run, flow: str) -> Iterator[str]:
    events = list(RunEvent.objects.filter(run_id=run.pk).order_by("seq"))
    if [e.seq for e in events] != list(range(1, run.seq + 1)):
        yield f"history: {run.pk} has gaps"
    yield from _results(run, events)
    yield from _pauses(run, events)
    yield from _ends(run, flow, events)
    yield from _undone(run, events)
    problem = folds(run, events)
    if problem:
        yield f"fold: {run.pk} {problem}"


def _results(run: Run, events: list[RunEvent]) -> Iterator[str]:
    """A pass with a recorded result never starts again, and has one result."""
    passes: dict[tuple[str, int], int] = {}
    settled: set[tuple[str, int, int]] = set()
    for event in events:
        where = (event.step, event.item)
        if event.type == "step.started":
            passes[where] = event.data["pass"]
            if (*where, event.data["pass"]) in settled:
                yield f"result: {run.pk} {where} ran again after its result"
        elif event.type in ("step.succeeded", "step.answered"):
            key = (*where, passes.get(where, 1))
            if key in settled:
                yield f"result: {run.pk} {where} has two results"
            settled.add(key)


def _pauses(run: Run, events: list[RunEvent]) -> Iterator[str]:
    paused = False
    for event in events:
        if event.type == "run.pause_requested":
            paused = True
        elif event.type in ("run.resumed", "run.cancel_requested", "run.terminate_requested", "run.reopened"):
            paused = False
        elif event.type == "step.started" and paused:
            yield f"pause: {run.pk} started {event.step} while paused"


def _ends(run: Run, flow: str, events: list[RunEvent]) -> Iterator[str]:
    if not run.ended:
        yield f"lost: {run.pk} of {flow} is {run.status}"
    elif run.status == "failed":
        error = run.error or {}
        if error.get("class") == "child_failed":  # then it is the child that waits for a person
            error = (error.get("details") or {}).get("error") or error
        meant = flow == "chaos-saga" and error.get("class") == "code"
        if error.get("class") not in GAVE_UP and not meant:
            yield f"failed: {run.pk} of {flow}: {error}"
    started = {e.step for e in events if e.type == "step.started"}
    approved = any(e.type == "approval.decided" and e.data.get("verdict") in ("approve", "approved") for e in events)
    if flow == "chaos-gate" and "pay" in started and not approved:
        yield f"approval: {run.pk} paid without one"


def _undone(run: Run, events: list[RunEvent]) -> Iterator[str]:
    """Compensation goes backwards in the order in which the steps ended, and starts when nothing is in flight."""
    done = [e.step for e in events if e.type == "step.succeeded" and not e.step.endswith("~")]
    undone = list(dict.fromkeys(e.step[:-1] for e in events if e.type == "step.started" and e.step.endswith("~")))
    if [s for s in reversed(done) if s in undone] != [s for s in undone if s in done]:
        yield f"compensation: {run.pk} did {done} and undid {undone}"
    if undone and run.status not in ("cancelled", "failed", "timed_out"):
        yield f"compensation: {run.pk} is {run.status} with {undone} undone"


def folds(run: Run, events: list[RunEvent]) -> str:
    """ "" when the recorded causes give the state that is stored."""
    loaded = store.load(run.pk)
    if loaded is None:
        return "is gone"
    state = loaded.state
    first = State(run.pk, input=state.input, trigger=state.trigger, created_at=state.created_at)
    causes = [(Event(e.type, e.step, e.item, e.actor, e.data, cause=True), e.at) for e in events if e.cause]
    try:
        again = fold(loaded.plan, first, causes)
    except AssertionError as error:
        return f"a recorded cause is refused: {str(error)[:300]}"
    for key, step in state.steps.items():
        other = again.step(*key)
        if (other.status, other.output, other.attempt) != (step.status, step.output, step.attempt):
            return f"step {key} is {step.status}, folded {other.status}"
    if (again.status, again.output) != (state.status, state.output):
        return f"is {state.status}, folded {again.status}"
    return ""


def unheard_attempts() -> Counter[tuple[str, str, int]]:
    """Attempts by step run that may have acted without an answer."""
    found: Counter[tuple[str, str, int]] = Counter()
    types = ("step.lost", "step.retrying", "step.attempt_failed", "step.handed_back", "step.abandoned")
    for event in RunEvent.objects.filter(type__in=types).iterator():
        error = event.data.get("error") or {}
        if event.type in ("step.lost", "step.handed_back", "step.abandoned") or error.get("class") in UNHEARD:
            found[event.run_id, event.step, event.item] += 1
    return found


def effect_breaches(effects: list[dict[str, Any]], flows: Mapping[str, str]) -> Iterator[str]:
    """Keyed: once. Plain: every further effect explained by an attempt nobody heard from; irreversible: once."""
    unheard = unheard_attempts()
    for row in effects:
        run_id, step, *rest = row["key"].removesuffix(":undo").split(":")
        if run_id not in flows or not rest or not all(part.isdigit() for part in rest):
            yield f"key: {row}"
            continue
        item = int(rest[0]) if len(rest) == 2 else -1
        if not row["kind"].startswith("plain-"):
            if row["applied"] > 1:
                yield f"effect: {row}"
        elif flows.get(run_id) == "chaos-gate":
            if row["applied"] > 1:
                yield f"irreversible: {row}"
        elif row["applied"] - 1 > unheard[run_id, step, item]:
            yield f"unexplained: {row} with {unheard[run_id, step, item]} attempts unheard"


def is_asked_for(run: Run, started: Mapping[str, str]) -> bool:
    """By somebody outside, by another run, or by the clock."""
    return run.pk in started or run.parent_id is not None or run.trigger.get("kind") == "schedule"


def schedule_breaches(runs: list[Run]) -> Iterator[str]:
    """Each due time started one run."""
    due = Counter(str(r.trigger.get("scheduled_at")) for r in runs if r.trigger.get("kind") == "schedule")
    yield from (f"schedule: {at} started {n} runs" for at, n in due.items() if n > 1)


def leftovers() -> Iterator[str]:
    count = Work.objects.filter(run__ended_at__isnull=False).count()
    if count:
        yield f"queue: {count} rows of runs that ended"


#: seconds before and after a kill in which nothing else may have been wrong, for its takeover to count as undisturbed
BEFORE, AFTER = 3.0, 2.0


@dataclass(frozen=True, slots=True)
class Takeover:
    """`seconds` from the kill of a worker to the start of the attempt that follows the lost one."""

    seconds: float
    held: tuple[str, str, int]  # (run, step, item)
    at: float  # of the kill
    near: tuple[str, ...]  # kinds of the faults near it that may hinder a takeover


def recoveries(kills: Sequence[Kill], disturbances: Sequence[Span]) -> list[Takeover]:
    """Of all kills of workers, the fastest first."""
    rows: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    lost: set[tuple[str, str, int]] = set()
    for event in RunEvent.objects.filter(type__in=("step.lost", "step.started")).order_by("run_id", "seq").iterator():
        where = (event.run_id, event.step, event.item)
        if event.type == "step.lost":
            lost.add(where)
        elif where in lost:
            rows[where].append(event.at)
    found = []
    for kill in kills:
        near = tuple(s.kind for s in disturbances if s.begin - AFTER < kill.at < s.end + BEFORE)
        for held in kill.held:
            later = [at - kill.at for at in rows[held] if at >= kill.at - 0.02]
            if later:
                found.append(Takeover(max(0.0, min(later)), held, kill.at, near))
    return sorted(found, key=lambda one: one.seconds)


def why_slow(one: Takeover) -> str:
    """What the history says of the time between: for whoever reads the figures."""
    run, step, item = one.held
    end = one.at + one.seconds + 0.1
    events = RunEvent.objects.filter(run_id=run, at__gte=one.at - 0.1, at__lte=end).order_by("seq")
    told = [f"{e.type}{f' {e.step}' if e.step else ''} {e.at - one.at:+.1f}" for e in events if e.step in ("", step)]
    return f"{one.seconds:.1f} s: {run} {step} {item}; near: {', '.join(one.near) or 'nothing'}; {'; '.join(told[:12])}"
