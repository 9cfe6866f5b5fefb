"""A flow's text -> the plan that runs. Deterministic: comments, layout and key order change nothing."""

from __future__ import annotations

from flows.definition.lint import analyse
from flows.definition.plan import Plan
from flows.definition.problems import Problem


def compile_source(source: str) -> tuple[Plan | None, list[Problem]]:
    """The plan and everything lint says; no plan when any of it is an error. Never raises."""
    return analyse(source)
