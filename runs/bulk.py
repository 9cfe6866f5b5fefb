"""One control for many runs: each in a transaction of its own, each with its own result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from resources.access import Actor, folder_filter
from resources.errors import BadInput, Conflict, OrchestraError
from runs import controls, copies, recoveries
from runs.models import Run

MAX_RUNS: Final = 500
#: seconds after which what is left is reported as not tried, so that a request ends
MAX_SECONDS: Final = 20.0
Apply = Callable[[Actor, str, str], str]


@dataclass(frozen=True, slots=True)
class Result:
    """`status`: the run's afterwards, `new_run` of a replay; else `code` and `message` say why nothing was done."""

    run: str
    done: bool
    status: str = ""
    new_run: str = ""
    code: str = ""
    message: str = ""


def _replay(actor: Actor, run_id: str, reason: str) -> str:
    started = copies.replay_run(actor=actor, run_id=run_id, reason=reason)
    if started.skipped:
        raise Conflict("Its concurrency key is taken, and the flow skips such starts.", code="key_taken")
    return started.run.pk


def _control(name: str) -> Apply:
    def apply(actor: Actor, run_id: str, reason: str) -> str:
        getattr(controls, f"{name}_run")(actor=actor, run_id=run_id, reason=reason)
        return ""

    return apply


_APPLY: Final[Mapping[str, Apply]] = {name: _replay if name == "replay" else _control(name) for name in recoveries.BULK}


def control_runs(
    *, actor: Actor, control: str, ids: Sequence[str], reason: str = "", dry_run: bool = False
) -> list[Result]:
    """`control` (one of recoveries.BULK) for each of these runs, in order. Runs the actor may not see are not there.

    `dry_run`: nothing is changed; `done` says what would be, `status` is the run's now.
    Raises BadInput `bad_control` | `too_many`; what single runs refuse is in their results.
    """
    if control not in _APPLY:
        said = f"Of many runs at once can be asked: {', '.join(recoveries.BULK)}."
        raise BadInput(said, code="bad_control")
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_RUNS:
        said = f"{len(wanted)} runs at once are too many; {MAX_RUNS} are allowed."
        raise BadInput(said, code="too_many", hint="Narrow the filter, or do it in parts.")
    visible = set(
        Run.objects.filter(folder_filter(actor, "viewer", "flow__folder"), pk__in=wanted).values_list("pk", flat=True)
    )
    end = time.monotonic() + MAX_SECONDS
    apply = _would(control) if dry_run else _APPLY[control]
    return [_one(actor, apply, run_id, reason, run_id in visible, time.monotonic() < end) for run_id in wanted]


def next_before(found: Sequence[Result], total: int) -> str:
    """The run after which to go on where `total` matched and these, the newest, were asked; "" where none are left.

    What was not tried for lack of time comes again.
    """
    asked = [result.run for result in found if result.code != "not_tried"]
    return asked[-1] if asked and len(asked) < total else ""


def _would(control: str) -> Apply:
    def look(actor: Actor, run_id: str, reason: str) -> str:
        _, loaded = controls.find(actor, run_id)
        controls.check(loaded, control)
        return ""

    return look


def _one(actor: Actor, apply: Apply, run_id: str, reason: str, visible: bool, in_time: bool) -> Result:
    if not visible:
        return Result(run_id, False, code="run_not_found", message="There is no such run.")
    if not in_time:
        return Result(run_id, False, code="not_tried", message="The time for one request was up; ask again for it.")
    try:
        new_run = apply(actor, run_id, reason)
    except OrchestraError as error:
        return Result(run_id, False, code=error.stable_code, message=error.message)
    return Result(run_id, True, status=Run.objects.values_list("status", flat=True).get(pk=run_id), new_run=new_run)


_DONE: Final = {
    "pause": "Paused", "resume": "Resumed", "cancel": "Cancelled", "terminate": "Terminated", "retry": "Retried",
    "replay": "Replayed",
}  # fmt: skip


def summary(control: str, found: Sequence[Result]) -> str:
    """What came of it, in a sentence for each reason."""
    if not found:
        return "No run was chosen."
    done = sum(r.done for r in found)
    said = f"{_DONE[control]} {done} of {len(found)} run{'s' if len(found) != 1 else ''}."
    reasons = Counter(r.message for r in found if not r.done)
    return " ".join([said, *(f"{n} refused: {message}" for message, n in reasons.most_common(5))])
