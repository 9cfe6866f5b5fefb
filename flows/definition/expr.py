"""Expressions: `${{ … }}` holds CEL. The evaluator is imported with the first of them.

No clock, no randomness, no secrets: the same scope gives the same value on every replay. Everything is
bounded: the length and nesting of an expression, the depth and size of what it reads and gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flows.definition import cel_wire
from flows.definition.expr_analysis import Finding, Reference, explain, find_patterns, find_references, growth
from flows.definition.expr_values import to_json
from flows.definition.jsonguard import JsonError, check_json, without_big_numbers
from flows.definition.template import Part, TemplateError, expressions_in, has_expression, parse_template

if TYPE_CHECKING:
    from cel_expr_python import cel

__all__ = [
    "ExprError",
    "Finding",
    "Part",
    "Reference",
    "Scope",
    "TemplateError",
    "check",
    "evaluate",
    "expressions_in",
    "has_expression",
    "parse_template",
    "references",
    "render",
    "truthy",
]

Json = Any

#: What an expression may read.
NAMES = ("input", "trigger", "run", "vars", "steps", "item", "item_index", "event", "check", "args", "given")

MAX_LENGTH = 4096  # characters of one expression
MAX_GROWTH = 256  # how often one expression may copy what it reads into one value
MAX_SCOPE_BYTES = 8 * 1024 * 1024
MAX_RESULT_BYTES = 1024 * 1024


class ExprError(Exception):
    """An expression that cannot be read or has no value. `offset`: characters into it, if known."""

    def __init__(self, message: str, expression: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expression = expression
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Scope:
    """Names and values that were checked once and may be read by many expressions. Build with `of`."""

    values: Mapping[str, Json]

    @classmethod
    def of(cls, values: Mapping[str, Json]) -> Scope:
        """Raises ExprError for values that are not JSON, too deep (64) or too large (8 MiB)."""
        unknown = set(values) - set(NAMES)
        if unknown:
            raise ExprError(f"These names are not part of a scope: {sorted(unknown)}.", "")
        try:
            check_json(dict(values), max_depth=65, max_bytes=MAX_SCOPE_BYTES)
            return cls(without_big_numbers(dict(values)))
        except JsonError as error:
            raise ExprError(str(error), "") from error


def _env(types: tuple[tuple[str, str], ...] = ()) -> cel.Env:
    from flows.definition import cel_env

    return cel_env.env(types, NAMES)


@dataclass(frozen=True, slots=True)
class _Compiled:
    program: Any
    references: tuple[Reference, ...]
    patterns: tuple[tuple[str, int], ...]  # the constant ones of matches(…), with offsets


@lru_cache(maxsize=4096)
def _compile(text: str) -> _Compiled:
    """Raises ExprError."""
    findings = _static(text)
    if findings:
        raise ExprError(findings[0].message, text, findings[0].offset)
    try:
        serialized = _env().compile(text).serialize()
    except RuntimeError as error:
        first = explain(str(error), text)[0]
        raise ExprError(first.message, text, first.offset) from error
    root, offsets = cel_wire.tree(serialized)
    if growth(root) > MAX_GROWTH:
        raise ExprError("The expression copies its values too often; use a function step.", text)
    program = _env().deserialize(cel_wire.rewritten(serialized))
    return _Compiled(program, tuple(find_references(root, offsets, NAMES)), tuple(find_patterns(root, offsets)))


def _static(text: str) -> list[Finding]:
    if not text.strip():
        return [Finding("expression-syntax", "The expression is empty.", 0, "Write what to read: ${{ input.name }}.")]
    if len(text) > MAX_LENGTH:
        hint = "Move the work into a function step."
        return [Finding("expression-limit", f"An expression may have {MAX_LENGTH} characters at most.", 0, hint)]
    return []


def references(text: str) -> list[Reference]:
    """What the expression reads, in source order. `None` in a path: only known when it runs.

    Raises ExprError when it cannot be read.
    """
    return list(_compile(text).references)


def check(text: str, types: Mapping[str, str] | None = None, *, want_bool: bool = False) -> list[Finding]:
    """What is wrong with an expression, as far as it shows without values; empty if nothing.

    `types` maps dotted names (`input.count`) to string, integer, boolean, object, array or strings.
    """
    findings = _static(text)
    if findings:
        return findings
    # has(a.b) on a declared dotted name is taken for the name itself, so such an expression goes unchecked.
    known = () if "has(" in text.replace(" ", "") else tuple(sorted((types or {}).items()))
    try:
        compiled = _env(known).compile(text)
        _compile(text)
    except RuntimeError as error:
        return explain(str(error), text)
    except ExprError as error:
        return [Finding("expression-limit", error.message, error.offset, "Make it shorter, or use a function step.")]
    return _check_result(compiled.return_type(), want_bool) + _check_patterns(text)


def _check_result(kind: cel.Type, want_bool: bool) -> list[Finding]:
    from flows.definition import cel_env

    if not want_bool or kind in (cel_env.TYPES["boolean"], cel_env.TYPES["any"]):
        return []
    hint = "Compare it with something: ${{ input.kind == 'full' }}."
    return [Finding("expression-type", f"This must be true or false, not {kind.name().lower()}.", 0, hint)]


def _check_patterns(text: str) -> list[Finding]:
    out = []
    for pattern, offset in _compile(text).patterns:
        try:
            evaluate("input.matches(run)", {"input": "", "run": pattern})
        except ExprError:
            said = f"The regular expression {pattern[:80]!r} cannot be read."
            out.append(Finding("invalid-regex", said, offset, "Mend it; the syntax is RE2, without look-around."))
    return out


def evaluate(text: str, scope: Scope | Mapping[str, Json]) -> Json:
    """The value of an expression (without `${{ }}`) as JSON. Raises ExprError."""
    from flows.definition.cel_env import ERROR

    compiled = _compile(text)
    values = scope.values if isinstance(scope, Scope) else Scope.of(scope).values
    for reference in compiled.references:
        if reference.path[0] not in values:
            raise ExprError(f"There is no `{reference.path[0]}` here.", text, reference.offset)
    needed = {str(r.path[0]) for r in compiled.references}
    try:
        value = compiled.program.eval(data={name: values[name] for name in needed})
        failed = value.type() == ERROR
        result = value.plain_value()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExprError(_no_value(error), text) from error
    if failed:
        raise ExprError(explain(str(result), text)[0].message, text)
    try:
        result = to_json(result)
        check_json(result, max_bytes=MAX_RESULT_BYTES)
    except JsonError as error:
        raise ExprError(f"The expression's value cannot be used: {error}", text) from error
    return result


def _no_value(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "The value is an optional; end the expression with .orValue(…)."
    return f"The expression has no value: {str(error)[:300]}"


def truthy(condition: str | bool, scope: Scope | Mapping[str, Json]) -> bool:
    """The truth of an `if`: a bool, or a text that is exactly one `${{ … }}`. Raises ExprError."""
    value = condition if isinstance(condition, bool) else render(condition, scope)
    if not isinstance(value, bool):
        raise ExprError(f"A condition must be true or false, but this is {_short(value)}.", str(condition))
    return value


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def render(tree: Json, scope: Scope | Mapping[str, Json]) -> Json:
    """The tree with every `${{ … }}` in its texts replaced. Raises ExprError.

    A text that is one expression becomes its value, of any type; inside a longer text, texts are put in
    as they are and other values as JSON. Keys are left alone; rendered texts are not rendered again.
    """
    # what names nothing needs no names, and checking them costs more than all the rest
    ready = scope if isinstance(scope, Scope) else Scope.of(scope if names_something(tree) else {})
    rendered = _render(tree, ready, 0)
    try:
        check_json(rendered, max_bytes=MAX_RESULT_BYTES)
    except JsonError as error:
        raise ExprError(f"The rendered value cannot be used: {error}", "") from error
    return rendered


def names_something(tree: Json, depth: int = 0) -> bool:
    """Is there an expression in any text of the tree?"""
    if isinstance(tree, str):
        return has_expression(tree)
    if depth > 64:
        return True  # `_render` says what is wrong with it
    values = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, (list, tuple)) else ()
    return any(names_something(value, depth + 1) for value in values)


def _render(tree: Json, scope: Scope, depth: int) -> Json:
    if depth > 64:
        raise ExprError("The value is nested deeper than 64 levels.", "")
    if isinstance(tree, str):
        return _render_text(tree, scope) if has_expression(tree) else tree
    if isinstance(tree, Mapping):
        return {key: _render(value, scope, depth + 1) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_render(value, scope, depth + 1) for value in tree]
    return tree


def _render_text(text: str, scope: Scope) -> Json:
    try:
        parts = parse_template(text)
    except TemplateError as error:
        raise ExprError(str(error), text, error.offset) from error
    used = [p for p in parts if p.expression or p.text.strip()]
    if len(used) == 1 and used[0].expression:
        return evaluate(used[0].text, scope)
    out, size = list[str](), 0
    for part in parts:
        piece = _as_text(evaluate(part.text, scope)) if part.expression else part.text
        size += len(piece)
        if size > MAX_RESULT_BYTES:
            raise ExprError(f"The text would have more than {MAX_RESULT_BYTES} characters.", text)
        out.append(piece)
    return "".join(out)


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
