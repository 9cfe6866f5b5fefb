"""What the editor's page shows. Reads only."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

from flows import versions
from flows.definition.lint import lint
from flows.definition.problems import Problem
from flows.known import known_names
from flows.models import Draft, Flow
from resources.access import Actor, can
from resources.errors import PreconditionFailed

TONES = {"error": "fail", "warning": "pause", "info": "run"}


@dataclass(slots=True)
class Entered:
    """What a person sent that was not taken, to be shown again with the reason."""

    source: str | None = None
    conflict: PreconditionFailed | None = None
    save_error: str = ""
    version: str = ""
    notes: str = ""
    live: bool = True
    release_error: str = ""
    release_hint: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def editor_page(actor: Actor, flow: Flow, entered: Entered | None = None) -> dict[str, Any]:
    """The context of flows/edit.html."""
    entered = entered or Entered()
    draft: Draft = flow.draft
    source = draft.source if entered.source is None else entered.source
    problems = lint(source, known=known_names())
    latest = versions.highest(flow.releases.values_list("version", flat=True))
    return {
        "section": "flows",
        "flow": flow,
        "draft": draft,
        "saved_at": draft.updated_at.timestamp(),
        "source": source,
        "lines": source.count("\n") + 1,
        "editable": can(actor, "author", flow.folder),
        "problems": [present(p) for p in problems],
        "errors": sum(p.severity == "error" for p in problems),
        "warnings": sum(p.severity == "warning" for p in problems),
        "latest": latest,
        "suggestions": _suggestions(latest, entered.version),
        "difference": difference(flow.live.source, draft.source) if flow.live is not None else [],
        "entered": entered,
        "conflict": entered.conflict.details if entered.conflict else None,
    }


def present(problem: Problem) -> dict[str, Any]:
    return {**problem.to_json(), "tone": TONES.get(problem.severity, "run")}


def difference(before: str, after: str, context: int = 3) -> list[dict[str, str]]:
    """Lines of a diff: {"tag": ins | del | span, "text"}; empty when both are the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=context)
    tags = {"+": "ins", "-": "del"}
    shown = [line for line in lines if not line.startswith(("+++", "---"))]
    return [
        {"tag": "gap", "text": "…"} if line.startswith("@@") else {"tag": tags.get(line[:1], "span"), "text": line[1:]}
        for line in shown
    ]


def _suggestions(latest: str | None, entered: str) -> list[dict[str, Any]]:
    offered = versions.suggestions(latest)
    chosen = entered or offered[min(1, len(offered) - 1) if latest else 0][1]
    return [{"name": name, "version": version, "chosen": version == chosen} for name, version in offered]
