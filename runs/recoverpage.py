"""State -> what the run's page offers: recoveries with their consequences, and what goes on while it is paused."""

from __future__ import annotations

import json
from typing import Any, Final

from runs import recoveries, store
from runs.engine.standing import DEAD
from runs.engine.state import FAILED, NO_ITEM, UNKNOWN, WAITING, State
from runs.models import Run
from runs.recoveries import Recovery
from runs.sensitive.veil import Veil

#: recoveries shown; a wide fan-out may have thousands of failed items, which the API lists
SHOWN: Final = 12
#: control -> (title, verb on the button, how it is done)
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "retry": ("Retry the failed steps", "Retry them"),
    "retry_from": ("Retry from {where}", "Retry from here"),
    "skip": ("Skip {where}", "Skip it"),
    "complete": ("Complete {where} by hand", "Complete it"),
    "outcome": ("Say what became of {where}", "Record it"),
    "replay": ("Replay as a new run", "Start the new run"),
    "fork": ("Fork a new run from {where}", "Start the new run"),
}
_FACTS: Final = (
    ("again", "Runs again"),
    ("asked_again", "Asked again"),
    ("may_repeat", "May happen twice"),
    ("kept", "Kept"),
)


def recover(run: Run, chosen: str, operates: bool, veil: Veil) -> dict[str, Any]:
    """{rows, refused, more, paused}; empty where there is nothing to offer. `chosen`: the step that is inspected."""
    nothing: dict[str, Any] = {"rows": [], "refused": [], "more": 0, "paused": None}
    loaded = store.load(run.pk)
    if loaded is None or not operates:
        return nothing
    state = loaded.state
    paused = while_paused(loaded.state) if run.status in ("pausing", "paused") else None
    broken = any(s.status in (FAILED, UNKNOWN) for s in state.steps.values())
    if not run.ended and not broken:
        return {**nothing, "paused": paused}
    found = [r for r in recoveries.recoveries(loaded.plan, state) if _is_shown(r, chosen)]
    rows = [_row(run, veil, r) for r in found if r.allowed]
    refused = _refused(found) if run.status in DEAD else []
    return {"rows": rows[:SHOWN], "more": max(0, len(rows) - SHOWN), "refused": refused, "paused": paused}


def _refused(found: list[Recovery]) -> list[dict[str, str]]:
    """What cannot be done, once for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        if not one.allowed:
            titles = reasons.setdefault(one.sentence, [])
            title = _title(one)
            titles.append(title[:1].lower() + title[1:] if titles else title)
    return [{"title": ", ".join(titles), "sentence": sentence} for sentence, titles in reasons.items()]


def _title(found: Recovery) -> str:
    where = found.step if found.item == NO_ITEM else f"{found.step}[{found.item}]"
    return _WORDS[found.control][0].format(where=where or "a step")


def _is_shown(found: Recovery, chosen: str) -> bool:
    """A step can be begun from at every step that was reached: the page offers the one that is looked at."""
    return found.control not in ("retry_from", "fork") or found.step in ("", chosen)


def _row(run: Run, veil: Veil, found: Recovery) -> dict[str, Any]:
    lists = [(label, getattr(found.consequences, name)) for name, label in _FACTS]
    given = veil.input(run.input)
    return {
        "id": f"do-{found.control}-{found.step}-{found.item}".replace(".", "-"),
        "control": found.control,
        "title": _title(found),
        "verb": _WORDS[found.control][1],
        "step": found.step,
        "item": found.item if found.item != NO_ITEM else "",
        "sentence": found.sentence,
        "facts": [{"label": label, "steps": steps} for label, steps in lists if steps],
        "input": json.dumps(given, indent=2, ensure_ascii=False) if found.control in ("replay", "fork") else "",
        "wants": _WANTS.get(found.control, ()),
    }


#: control -> the fields its form has beside the reason
_WANTS: Final[dict[str, tuple[str, ...]]] = {
    "complete": ("output",),
    "outcome": ("outcome", "output"),
    "replay": ("input", "release"),
    "fork": ("input",),
}


def while_paused(state: State) -> dict[str, Any]:
    """{in_flight: [step], waits: [{step, kind, until}]}: what a pause does not stop."""
    goes_on = recoveries.goes_on_while_paused(state)
    waits = [
        {"step": step.id if step.item == NO_ITEM else f"{step.id}[{step.item}]", **_wait(step.wait)}
        for _, step in sorted(state.steps.items())
        if step.status == WAITING
    ]
    return {"in_flight": goes_on["in_flight"][:SHOWN], "waits": waits[:SHOWN], "by": state.paused or {}}


def _wait(wait: Any) -> dict[str, Any]:
    return {"kind": (wait or {}).get("kind", ""), "until": (wait or {}).get("until")}
