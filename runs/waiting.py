"""What a step waits for, for the page: until when, and ready lines that answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from flows.definition import waiting as config_of
from flows.definition.plan import Plan
from runs import acting, snippets, waits
from runs.models import NO_ITEM, Run, StepRun

Json = Any


def waiting(run: Run, plan: Plan, row: StepRun | None, *, operates: bool) -> dict[str, Any] | None:
    """{kind, until, options}; None for a step that waits for nothing, or for people: their request says it all.

    `until`: epoch seconds or None. Each of `options` is {name, kind, until, event, match, secret, snippets}; `snippets`
    {language: text} only for those who may operate: whoever knows the address of a callback can answer.
    """
    wait = (row.state or {}).get("wait") if row is not None and row.status == "waiting" else None
    if row is None or not wait or wait["kind"] == "approval":
        return None
    options = list(_options(run, plan, row, wait, operates)) if row.item == NO_ITEM else []
    return {"kind": wait["kind"], "until": wait.get("until"), "options": options}


def _options(run: Run, plan: Plan, row: StepRun, wait: Mapping[str, Json], operates: bool) -> Iterator[dict[str, Any]]:
    config, spec = plan.step(row.step).config, wait.get("spec") or {}
    several = spec["of"] if wait["kind"] == "first" else {config_of.ALONE: {**spec, "kind": wait["kind"]}}
    for name, option in several.items():
        kind, lines = option["kind"], {}
        written = config_of.of_kind(config, kind).get(name, {})
        if operates and kind == "callback":
            url = acting.callback_url(waits.token_of(plan, run.pk, row.step, NO_ITEM, row.pass_no))
            lines = snippets.of_callback(url, signed="secret" in written)
        elif operates and kind == "event":
            lines = snippets.of_event(settings.PUBLIC_URL, option["name"], run.flow.folder)
        yield {
            "name": name, "kind": kind, "until": option.get("until"), "event": option.get("name", ""),
            "match": written.get("match", ""), "secret": written.get("secret", ""), "snippets": lines,
        }  # fmt: skip
