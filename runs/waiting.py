"""What a step waits for, for the page: until when, and for a callback the address that answers it."""

from __future__ import annotations

from typing import Any

from flows.definition.plan import Plan
from runs import attempts, waits
from runs.models import NO_ITEM, Run, StepRun


def waiting(run: Run, plan: Plan, row: StepRun | None, *, operates: bool) -> dict[str, Any] | None:
    """{kind, until, url}; None for a step that waits for nothing, or for people: their request says it all.

    `url` only for those who may operate: whoever knows it can answer. `until`: epoch seconds or None.
    """
    wait = (row.state or {}).get("wait") if row is not None and row.status == "waiting" else None
    if row is None or not wait or wait["kind"] == "approval":
        return None
    url = ""
    if wait["kind"] == "callback" and operates:
        url = attempts.callback_url(waits.token_of(plan, run.pk, row.step, NO_ITEM, row.pass_no))
    return {"kind": wait["kind"], "until": wait.get("until"), "url": url}
