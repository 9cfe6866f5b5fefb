"""The linter: one for the editor, the CLI, the API, promotion and CI. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.definition import (
    lint_approvals,
    lint_connections,
    lint_contracts,
    lint_expressions,
    lint_functions,
    lint_graph,
    lint_http,
    lint_llm,
    lint_schedules,
    lint_ssh,
    lint_text,
    lint_time,
    lint_webhooks,
)
from flows.definition.bindings import Bindings
from flows.definition.build import build_plan, build_steps
from flows.definition.plan import Plan
from flows.definition.problems import Problem, in_order
from flows.definition.reader import read


@dataclass(frozen=True, slots=True)
class Known:
    """Names that exist in this workspace. None: not checked."""

    connections: Mapping[str, str] | None = None  # name -> kind
    secrets: frozenset[str] | set[str] | None = None
    groups: frozenset[str] | set[str] | None = None
    users: frozenset[str] | set[str] | None = None
    variables: frozenset[str] | set[str] | None = None  # that have a value, in the workspace or for some flow
    flows: frozenset[str] | set[str] | None = None  # that have a live release
    bindings: Bindings = field(default_factory=dict)
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)  # family -> kinds of connections it takes


def lint(source: str, *, known: Known | None = None) -> list[Problem]:
    """Every problem of a flow's text, by place. Never raises."""
    return analyse(source, known=known)[1]


def analyse(source: str, *, known: Known | None = None) -> tuple[Plan | None, list[Problem]]:
    """The plan, unless there is an error, and every problem by place. Never raises."""
    document = read(source)
    lint_text.check_secrets(document, source)
    if isinstance(document.source.data, dict):
        steps = build_steps(document)
        lint_text.check(document)
        lint_functions.check(document)
        lint_llm.check(document)
        lint_http.check(document)
        if lint_graph.check(document, steps):
            lint_expressions.check(document, steps, source)
            lint_approvals.check(document, steps)
            lint_time.check(document, steps)
            lint_contracts.check(document, steps)
            lint_ssh.check(document, steps)
        lint_schedules.check(document)
        lint_webhooks.check(document)
        if known is not None:
            lint_text.check_names(document, known)
            lint_connections.check(document, known)
            lint_text.check_variables(document, known)
    plan = build_plan(document, build_steps(document)) if document.whole else None
    return plan, in_order(document.problems)
