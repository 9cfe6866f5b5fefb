"""What a page says of a step beside its status: why it was skipped, what stood in, what broke, where it led. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition import routing
from flows.definition.plan import StepPlan
from runs.sentences import SKIPS, age

Json = Any
Note = dict[str, Any]


def rules_in_words(plan: StepPlan) -> list[str]:
    """How the step runs, as far as its keys say more than its family."""
    found = []
    if plan.join is not None:
        found.append(f"Starts when {plan.join} of {len(plan.needs)} steps it needs have succeeded.")
    each = plan.for_each
    if each is not None and each.batch is not None:
        found.append(f"In batches of at most {each.batch}.")
    if each is not None and each.key is not None:
        found.append("Items of one key run one by one, in their order.")
    if plan.already_done is not None:
        found.append("Asked about before a repeat, whether it happened.")
    if plan.effect is not None:
        found.append(_EFFECTS[plan.effect])
    return found


_EFFECTS: Mapping[str, str] = {
    "none": "A repeat changes nothing.",
    "idempotent": "A repeat with the same key changes nothing.",
    "once": "Never repeated while nobody knows whether it happened.",
}


def of_step(plan: StepPlan, status: str, kept: Mapping[str, Json]) -> list[Note]:
    """[{tone, icon, title, text, code, run}] for a step run with this `StepRun.state`; `run` links to another run."""
    notes: list[Note] = []
    reason = str(kept.get("reason") or "")
    if status == "skipped":
        notes.append(_note("", "s-skipped", "Skipped" + SKIPS.get(reason, "") + "."))
    elif reason == "join":
        running = status == "running"
        said = (
            "No longer needed: its result will change nothing." if running else "Withdrawn: a join went on without it."
        )
        notes.append(_note("", "s-cancelled", said))
    if kept.get("doubt"):
        notes.append(_note("pause", "help", "Nobody knows whether it happened; it is being asked."))
    if (stale := kept.get("stale")) is not None:
        said = f"The last good output, {age(stale['age'])} old when it was taken."
        notes.append(_note("pause", "alert", "Stale output.", said, run=stale["run"]))
    elif kept.get("fallback") and status == "succeeded":
        notes.append(_note("pause", "alert", "A fallback stood in."))
    details = (kept.get("error") or {}).get("details")
    if isinstance(details, dict) and (contract := details.get("contract")):
        notes.append(_note("fail", "s-failed", _CONTRACTS.get(contract, "Broken contract."), code=_broken(details)))
    return notes


_CONTRACTS: Mapping[str, str] = {
    "requires": "What it requires did not hold, so it was not started.",
    "ensures": "What it ensures of its output does not hold.",
    "output": "Its output breaks the schema it declares.",
}


def _broken(details: Mapping[str, Json]) -> str:
    if "expression" in details:
        return str(details["expression"])
    return "\n".join(
        f"{'.'.join(map(str, p['path'])) or '(all of it)'}: {p['message']}" for p in details["problems"][:5]
    )


def _note(tone: str, icon: str, title: str, text: str = "", code: str = "", run: str = "") -> Note:
    return {"tone": tone, "icon": icon, "title": title, "text": text, "code": code, "run": run}


def table_of(plan: StepPlan, output: Json) -> list[dict[str, Any]]:
    """A route's rules as they are looked at, the default last: [{name, condition, to, taken}]; none for other steps."""
    if plan.family != routing.FAMILY:
        return []
    taken = output.get("rule") if isinstance(output, dict) else None
    rows = [
        {
            "name": routing.name_of(plan.config, number),
            "condition": branch.get("if", "otherwise"),
            "to": routing.leads_to(plan.config, number),
            "taken": number == taken,
        }
        for number, branch in enumerate(routing.branches(plan.config))
    ]
    return [*rows[1:], rows[0]]
