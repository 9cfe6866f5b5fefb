"""Reads and rewrites the checked syntax tree of an expression (protobuf wire format), stdlib only.

Three things need the tree: which names an expression reads; a fixed order where it iterates over a mapping (the
evaluator's own order differs from process to process, and a replay must not); and that `steps.x.?age` finds nothing
where the step has no age: what a step lacks is null for whoever reads it plainly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Field = tuple[int, int, "int | bytes"]  # field number, wire type, payload

# Field numbers of cel.expr.Expr and its parts, from the published syntax.proto.
ID, CONST, IDENT, SELECT, CALL, LIST, STRUCT, LOOP = 2, 3, 4, 5, 6, 7, 8, 9
ORDERED, ORDERED_ID = "ordered", "ordered_map"
KNOWN, KNOWN_ID = "known_of_steps", "known_of_steps"
STEPS = "steps"
_MAYBE = ("_?._", "_[?_]")  # the calls that `a.?b` and `a[?'b']` stand for


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read(data: bytes) -> list[Field]:
    """The fields of one message, in order. Raises ValueError for a wire type CEL does not use."""
    at, out = 0, list[Field]()
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        payload: int | bytes
        if wire == 0:
            payload, at = _varint(data, at)
        elif wire in (1, 2):
            size, at = (8, at) if wire == 1 else _varint(data, at)
            payload, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire}")
        out.append((tag >> 3, wire, payload))
    return out


def write(fields: list[Field]) -> bytes:
    out = bytearray()
    for number, wire, payload in fields:
        out += _number(number << 3 | wire)
        if isinstance(payload, int):
            out += _number(payload)
        else:
            out += (_number(len(payload)) if wire == 2 else b"") + payload
    return bytes(out)


def _part(fields: list[Field], number: int) -> bytes:
    return next((v for n, _, v in fields if n == number and isinstance(v, bytes)), b"")


def _parts(fields: list[Field], number: int) -> list[bytes]:
    return [v for n, _, v in fields if n == number and isinstance(v, bytes)]


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the tree. `name`: identifier, field or function; `children` in source order."""

    kind: int
    id: int
    name: str = ""
    children: tuple[Node, ...] = ()
    value: str | int | None = None  # of a text or integer constant
    test: bool = False  # has(…)
    loop_vars: tuple[str, ...] = ()
    target: bool = False  # a call written as target.name(…)


def tree(serialized: bytes) -> tuple[Node, dict[int, int]]:
    """The root of an expression and the code point offset of each node id."""
    checked = read(_part(read(serialized), 2))
    offsets: dict[int, int] = {}
    for entry in _parts(read(_part(checked, 5)), 4):
        pair = {n: v for n, _, v in read(entry) if isinstance(v, int)}
        offsets[pair.get(1, 0)] = pair.get(2, 0)
    return _node(_part(checked, 4)), offsets


def _node(data: bytes) -> Node:
    fields = read(data)
    number = next((v for n, _, v in fields if n == ID and isinstance(v, int)), 0)
    kind, body = next(((n, v) for n, _, v in fields if n != ID and isinstance(v, bytes)), (CONST, b""))
    parts = read(body)
    name = _part(parts, {IDENT: 1, SELECT: 2, CALL: 2}.get(kind, 99)).decode()
    if kind == CONST:
        return Node(kind, number, value=_constant(parts))
    if kind == SELECT:
        return Node(kind, number, name, (_node(_part(parts, 1)),), test=any(n == 3 for n, _, _ in parts))
    if kind == LOOP:
        return _loop(number, parts)
    return Node(kind, number, name, tuple(_node(c) for c in _children(kind, parts)), target=bool(_part(parts, 1)))


def _constant(parts: list[Field]) -> str | int | None:
    for number, _, value in parts:
        if number == 6 and isinstance(value, bytes):
            return value.decode()
        if number == 3 and isinstance(value, int):
            return value
    return None


def _children(kind: int, parts: list[Field]) -> list[bytes]:
    if kind == CALL:
        return _parts(parts, 1) + _parts(parts, 3)
    if kind == LIST:
        return _parts(parts, 1)
    if kind == STRUCT:
        return [v for entry in _parts(parts, 2) for n, _, v in read(entry) if n in (3, 4) and isinstance(v, bytes)]
    return []


def _loop(number: int, parts: list[Field]) -> Node:
    names = tuple(n.decode() for f in (1, 8, 3) for n in _parts(parts, f))
    children = tuple(_node(_part(parts, f)) for f in (2, 4, 5, 6, 7))
    return Node(LOOP, number, children=children, loop_vars=names)


def walk(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every node with the loop variables bound there, parents first."""
    yield node, bound
    inner = bound | frozenset(node.loop_vars)
    for index, child in enumerate(node.children):
        yield from walk(child, bound if node.kind == LOOP and index < 2 else inner)


@dataclass(slots=True)
class _Rewriter:
    """Wraps the range of every loop in a call of ORDERED, and steps asked for what they may lack in one of KNOWN."""

    next_id: int = 1_000_000
    added: list[tuple[int, str]] = field(default_factory=list)  # (id, overload)

    def expr(self, data: bytes) -> bytes:
        return write([(n, w, self._kind(n, v) if isinstance(v, bytes) else v) for n, w, v in read(data)])

    def _kind(self, kind: int, body: bytes) -> bytes:
        inner = {SELECT: (1,), CALL: (1, 3), LIST: (1,), LOOP: (2, 4, 5, 6, 7)}.get(kind, ())
        if kind == STRUCT:
            return write([(n, w, self._entry(v) if n == 2 and isinstance(v, bytes) else v) for n, w, v in read(body)])
        if not inner:
            return body
        out: list[Field] = []
        parts = read(body)
        asks = kind == CALL and _part(parts, 2).decode() in _MAYBE
        for number, wire, value in parts:
            if number in inner and isinstance(value, bytes):
                about_steps = asks and _is_of_steps(value)
                value = self.expr(value)
                if kind == LOOP and number == 2:
                    value = self._wrap(value, ORDERED, ORDERED_ID)
                if about_steps:
                    value = self._wrap(value, KNOWN, KNOWN_ID)
                asks = False  # only what stands before the dot
            out.append((number, wire, value))
        return write(out)

    def _entry(self, data: bytes) -> bytes:
        return write([(n, w, self.expr(v) if n in (3, 4) and isinstance(v, bytes) else v) for n, w, v in read(data)])

    def _wrap(self, data: bytes, name: str, overload: str) -> bytes:
        self.next_id += 1
        self.added.append((self.next_id, overload))
        return write([(ID, 0, self.next_id), (CALL, 2, write([(2, 2, name.encode()), (3, 2, data)]))])


def _is_of_steps(data: bytes) -> bool:
    """`steps`, or one of them: steps.x, steps['x']."""
    node = _node(data)
    one = node.kind == SELECT or (node.kind == CALL and node.name == "_[_]")
    named = node.children[0] if one else node
    return named.kind == IDENT and named.name == STEPS


def rewritten(serialized: bytes) -> bytes:
    """The same expression, with every loop over a mapping in the order of its sorted keys, and without the nulls of
    what a step lacks where `.?` asks for it."""
    orderer = _Rewriter()
    out: list[Field] = []
    for number, wire, value in read(serialized):
        if number == 2 and isinstance(value, bytes):
            value = _checked(value, orderer)
        out.append((number, wire, value))
    return write(out)


def _checked(data: bytes, orderer: _Rewriter) -> bytes:
    out = [(n, w, orderer.expr(v) if n == 4 and isinstance(v, bytes) else v) for n, w, v in read(data)]
    for number, overload in orderer.added:
        reference = write([(3, 2, overload.encode())])
        dynamic = write([(1, 2, b"")])
        out.append((2, 2, write([(1, 0, number), (2, 2, reference)])))
        out.append((3, 2, write([(1, 0, number), (2, 2, dynamic)])))
    return write(out)
