"""Functions: those of the flow, those that steps use, and whether their code is Python. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from flows.definition.lint_graph import did_you_mean
from flows.definition.lint_text import check_schema
from flows.definition.reader import Document
from flows.definition.yaml_source import Path
from flows.steps.fields import OPEN

Json = Any


def check(document: Document) -> None:
    """Report code that does not parse, functions that are not there, and functions that nobody uses."""
    declared = document.flow.functions if document.flow else {}
    path: Path
    for name, function in declared.items():
        path = ("functions", name)
        _check_code(document, function.code, (*path, "code"))
        for key, schema in (("input", function.input), ("output", function.output)):
            if schema is not None:
                check_schema(document, schema, (*path, key))
    used = set()
    for path, config in _configs(document):
        wanted = config.get("use")
        if isinstance(wanted, str):
            used.add(wanted)
            _check_use(document, path, config, set(declared) if document.flow else None)
        elif isinstance(config.get("code"), str):
            _check_code(document, config["code"], (*path, "code"))
        for key in ("takes", "gives"):
            if isinstance(config.get(key), dict):
                check_schema(document, config[key], (*path, key))
    for name in sorted(set(declared) - used):
        said = f"No step uses the function `{name}`."
        document.report(
            "unused-function", ("functions", name), said, "Use it, or leave it out.", severity="warning", key=True
        )


def _configs(document: Document) -> Iterator[tuple[Path, dict[str, Json]]]:
    """Every place that runs a function: the step itself, what stands in for it, what asks about it, what undoes it."""
    for doc in document.steps:
        places = (
            ((), doc.family, doc.config),
            (("fallback",), doc.fallback_family, doc.fallback_config),
            (("already_done",), doc.done_family, doc.done_config),
            (("compensate",), doc.undo.family if doc.undo else None, doc.undo.config if doc.undo else None),
        )
        for key, family, config in places:
            if family == "function" and config:
                yield (*doc.path, *key, "function"), config


def _check_use(document: Document, path: Path, config: dict[str, Json], declared: set[str] | None) -> None:
    """`declared`: None where the flow's own keys are wrong, which was said."""
    name = config["use"]
    if declared is not None and name not in declared:
        said = f"The flow has no function `{name}`."
        document.report("unknown-function", (*path, "use"), said, did_you_mean(name, declared))
    for key in ("code", "takes", "gives"):
        if key in config:
            said = f"`{key}` and `use` do not go together: the function has its own."
            document.report("bad-value", (*path, key), said, "Leave one of them out.", key=True)


def _check_code(document: Document, code: str, path: Path) -> None:
    if OPEN in code:  # said elsewhere: code has no expressions
        return
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        said = f"The code is not Python: {line}{reason}."
        document.report("code-syntax", path, said, "Mend the line; the value of the last expression is the output.")
