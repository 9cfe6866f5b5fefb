"""The graph of a draft as it is typed: steps and arrows, also while the text does not compile. Pure."""

from __future__ import annotations

from typing import Any

from flows.definition import yaml_source
from flows.steps.configs import CONFIGS

MAX_STEPS = 500


def sketch(source: str) -> dict[str, Any] | None:
    """{"nodes": [{id, family, line, detail, human, irreversible}], "edges": [[from, to]]}; None: unreadable YAML."""
    parsed = yaml_source.parse(source)
    if parsed.problems or not isinstance(parsed.data, dict):
        return None
    listed = parsed.data.get("steps")
    steps = [
        (index, step)
        for index, step in enumerate(listed[:MAX_STEPS] if isinstance(listed, list) else [])
        if isinstance(step, dict) and isinstance(step.get("id"), str)
    ]
    nodes = [_node(step, parsed.at(("steps", index)).line) for index, step in steps]
    return {"nodes": nodes, "edges": _edges([step for _, step in steps])}


def _node(step: dict[str, Any], line: int) -> dict[str, Any]:
    family = next((key for key in step if key in CONFIGS), "")
    irreversible = step.get("irreversible") is True
    return {
        "id": step["id"],
        "family": family,
        "line": line,
        "detail": _detail(step, family, irreversible),
        "human": family == "approval",
        "irreversible": irreversible,
    }


def _detail(step: dict[str, Any], family: str, irreversible: bool) -> str:
    config = step.get(family)
    if irreversible:
        return "irreversible"
    needs = step.get("needs")
    if step.get("join", "all") != "all" and isinstance(needs, list):
        return f"{step['join']} of {len(needs)}, then {family}"[:26]
    if family == "route" and isinstance(config, dict):
        rules = config.get("rules")
        count = len(rules) if isinstance(rules, list) else 0
        return f"{count} rule{'' if count == 1 else 's'}, else default"
    if family == "approval" and isinstance(config, dict):
        return _reviewers(config.get("reviewers"))
    if family == "sleep":
        return f"sleep {config}"[:26]
    if family == "http" and isinstance(config, dict):
        return f"{config.get('method', 'GET')} {config.get('path') or config.get('url') or ''}"[:26]
    return family or "no action yet"


def _reviewers(reviewers: Any) -> str:
    reviewers = reviewers if isinstance(reviewers, dict) else {}
    listed = [name for key in ("groups", "users") if isinstance(reviewers.get(key), list) for name in reviewers[key]]
    whom = ", ".join(str(name) for name in listed) or "a reviewer"
    return f"{reviewers.get('quorum', 1)} of {whom}"[:26]


def _edges(steps: list[dict[str, Any]]) -> list[list[str]]:
    known = {step["id"] for step in steps}
    edges, before = list[list[str]](), None
    for step in steps:
        needs = step.get("needs")
        if not isinstance(needs, list):
            needs = [before] if before else []
        edges += [
            [need, step["id"]] for need in needs if isinstance(need, str) and need in known and need != step["id"]
        ]
        before = step["id"]
    return edges
