"""What can be said of an expression without running it: what it reads, how it may grow, what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.definition.cel_wire import CALL, CONST, IDENT, LIST, LOOP, SELECT, STRUCT, Node


@dataclass(frozen=True, slots=True)
class Reference:
    """`path` from the root name on: ("steps", "build", "output"); None where only known at run time.

    `guarded`: read through has(…) or `.?`, so that it may be missing.
    """

    path: tuple[str | int | None, ...]
    offset: int
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with an expression; `offset` in characters from its start, None if unknown."""

    rule: str
    message: str
    offset: int | None
    hint: str


_STEP_CALLS = {"_[_]", "_?._", "_[?_]"}


def find_references(root: Node, offsets: Mapping[int, int], names: Sequence[str]) -> list[Reference]:
    found = _visit(root, frozenset(), offsets, frozenset(names))
    return sorted(found, key=lambda r: (r.offset, str(r.path)))


def _visit(node: Node, bound: frozenset[str], offsets: Mapping[int, int], names: frozenset[str]) -> Iterator[Reference]:
    chain = _chain(node)
    if chain is not None:
        base, path, guarded, dynamic = chain
        if base.name in names and base.name not in bound:
            yield Reference((base.name, *path), offsets.get(base.id, 0), guarded)
        for child in dynamic:
            yield from _visit(child, bound, offsets, names)
        return
    inner = bound | frozenset(node.loop_vars)
    for index, child in enumerate(node.children):
        yield from _visit(child, bound if node.kind == LOOP and index < 2 else inner, offsets, names)


def _chain(node: Node) -> tuple[Node, list[str | int | None], bool, list[Node]] | None:
    """The identifier a chain of `.a[b].?c` begins with, its path, and its computed indexes."""
    path: list[str | int | None] = []
    dynamic: list[Node] = []
    guarded = False
    while node.kind != IDENT:
        if node.kind == SELECT:
            path.append(node.name)
            guarded |= node.test
        elif node.kind == CALL and node.name in _STEP_CALLS and len(node.children) == 2:
            index = node.children[1]
            path.append(index.value if index.kind == CONST else None)
            guarded |= node.name != "_[_]"
            if index.kind != CONST:
                dynamic.append(index)
        else:
            return None
        node = node.children[0]
    return node, path[::-1], guarded, dynamic


def find_patterns(root: Node, offsets: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    """The constant regular expressions of `matches`, with their offsets."""
    todo = [root]
    while todo:
        node = todo.pop()
        todo.extend(node.children)
        if node.kind == CALL and node.name == "matches" and isinstance(node.children[-1].value, str):
            yield node.children[-1].value, offsets.get(node.children[-1].id, 0)


_SMALL = {"_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "size"}


def growth(node: Node, bound: Mapping[str, float] | None = None) -> float:
    """About how many copies of what it reads the value of an expression may hold, loops counted once.

    Nested loops over one-element lists can double a text again and again in a short expression.
    """
    known = bound or {}
    if node.kind == CONST:
        return 1.0 if isinstance(node.value, str) else 0.0
    if node.kind == IDENT:
        return known.get(node.name, 1.0)
    if node.kind == SELECT:
        return 0.0 if node.test else growth(node.children[0], known)
    if node.kind == LOOP:
        return _loop_growth(node, known)
    if node.kind in (LIST, STRUCT):
        return sum(growth(c, known) for c in node.children)
    return _call_growth(node, known)


def _call_growth(node: Node, known: Mapping[str, float]) -> float:
    parts = [growth(c, known) for c in node.children]
    if node.name in _SMALL:
        return 0.0
    if node.name == "_?_:_":
        return max(parts[1:], default=0.0)
    if node.name in _STEP_CALLS:
        return parts[0]
    return sum(parts)


def _loop_growth(node: Node, known: Mapping[str, float]) -> float:
    source, start, _, step, result = node.children
    each = growth(source, known)
    accumulator = node.loop_vars[-1]
    inside = {**known, **dict.fromkeys(node.loop_vars, each), accumulator: 0.0}
    total = growth(start, known) + growth(step, inside)
    return growth(result, {**known, accumulator: total})


_PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")
_OVERLOAD = re.compile(r"found no matching overload for '(.+?)' applied to '(.*)'", re.DOTALL)
_UNKNOWN = re.compile(r"undeclared reference to '(.+?)'")
_RUNTIME = (
    (re.compile(r'Key not found in map : "?(.*?)"?$'), "There is no {!r} in what the expression reads."),
    (re.compile(r"No matching overloads found : (.*)$"), "The types of the values do not go together: {}."),
    (re.compile(r"divide by zero|modulus by zero"), "The expression divides by zero."),
    (re.compile(r"Applying SELECT"), "The expression reads a field of a value that has none."),
    (re.compile(r"integer overflow"), "A number does not fit into 64 bits."),
    (re.compile(r"(Integer value '-?\d+' out of range)"), "{}: it does not fit into 64 bits; pass it as a text."),
)


def explain(raw: str, text: str) -> list[Finding]:
    """The evaluator's complaint in our words; at least one finding."""
    places = list(_PLACE.finditer(raw))
    if not places:
        return [
            Finding(
                "expression-limit" if "limit" in raw else "expression-type",
                _runtime(raw),
                None,
                "Make it simpler, or use a function step.",
            )
        ]
    found: dict[tuple[str, int | None], Finding] = {}
    for place in places:
        finding = _one(place[3], _offset(text, int(place[1]), int(place[2])))
        found.setdefault((finding.rule, finding.offset), finding)
    return list(found.values())


def _offset(text: str, line: int, column: int) -> int | None:
    if line < 1 or column < 0:
        return None
    starts = [0, *(m.end() for m in re.finditer("\n", text))]
    return min(starts[min(line, len(starts)) - 1] + max(column - 1, 0), len(text))


def _one(message: str, offset: int | None) -> Finding:
    if overload := _OVERLOAD.search(message):
        types = overload[2].strip("()")
        said = f"`{_operator(overload[1])}` does not take {types}."
        return Finding("expression-type", said, offset, "Convert one side: string(x), int(x) or double(x).")
    if unknown := _UNKNOWN.search(message):
        hint = "In scope are input, trigger, run, vars.<name>, steps.<id>, and item in a fan-out."
        return Finding("unknown-name", f"There is no `{unknown[1]}` in expressions.", offset, hint)
    if "operand of a select" in message:
        return Finding("expression-type", f"{message[:1].upper()}{message[1:]}.", offset, "It has no fields.")
    if "recursion" in message or "limit" in message:
        return Finding("expression-limit", "The expression is nested too deep.", offset, "Use a function step.")
    said = message.split(" expecting {")[0].removeprefix("Syntax error: ")
    hint = "Check quotes, brackets and operators; a text stands in 'quotes'."
    return Finding("expression-syntax", f"This is not an expression: {said}.", offset, hint)


def _operator(name: str) -> str:
    return {"_[_]": "[ ]", "_?_:_": "? :", "@in": "in"}.get(name, name.strip("_"))


def _runtime(raw: str) -> str:
    line = raw.splitlines()[0] if raw else ""
    if "recursion limit" in raw:
        return "The expression is nested too deep."
    if "iteration" in raw.lower():
        return "The expression loops too often (10,000 rounds at most); use a function step."
    for pattern, message in _RUNTIME:
        if match := pattern.search(line):
            return message.format(*match.groups())
    return line.partition(": ")[2] or line
