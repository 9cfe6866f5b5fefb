"""How PostgreSQL takes all rows of a statement as one: columns as arrays, rows from `unnest`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from runs import statements as sql

#: {statement: (types of its parameters, the same over many rows)}
_WIDE: Final[dict[str, tuple[str, str]]] = {
    sql.RAISE: (
        "bigint text text bigint",
        """UPDATE runs_run AS r SET version = r.version + 1, seq = v.a, status = v.b
             FROM v WHERE r.id = v.c AND r.version = v.d""",
    ),
    sql.RAISE_ALL: (
        "bigint text text text text bool float8 float8 text float8 text bigint",
        """UPDATE runs_run AS r SET version = r.version + 1, seq = v.a, status = v.b, output = v.c, error = v.d,
                  control = v.e, degraded = v.f, started_at = v.g, ended_at = v.h,
                  error_class = v.i, dead_at = v.j
             FROM v WHERE r.id = v.k AND r.version = v.l""",
    ),
    sql.STEP: (
        "text text int text bigint int int text text float8 float8",
        sql.STEP.replace("VALUES (" + ", ".join(["%s"] * 11) + ")", "SELECT * FROM v"),
    ),
    sql.EVENT: (
        "text bigint text bool text int float8 text text",
        sql.EVENT.replace(
            "VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s, %s)",
            "SELECT v.a, v.b, v.c, 1, v.d, v.e, v.f, v.g, v.h, v.i FROM v",
        ),
    ),
    sql.EXTEND: (
        "float8 bigint text int",
        "UPDATE runs_work AS w SET wake_at = v.a FROM v WHERE w.id = v.b AND w.owner = v.c AND w.fence = v.d",
    ),
    sql.MOVE: (
        "text int text int bool bool float8 bigint text int",
        """UPDATE runs_work AS w SET kind = 'step', step = v.a, item = v.b, name = '', queue = v.c, priority = v.d,
                  quick = v.e, long = v.f, wake_at = v.g FROM v WHERE w.id = v.h AND w.owner = v.i AND w.fence = v.j""",
    ),
    sql.LET_GO: (
        "bigint text int",
        "DELETE FROM runs_work AS w USING v WHERE w.id = v.a AND w.owner = v.b AND w.fence = v.c",
    ),
    sql.TAKE: (
        "text float8 text text int",
        """UPDATE runs_work AS w SET owner = v.a, fence = w.fence + 1, wake_at = v.b, rank = NULL FROM v
            WHERE w.run_id = v.c AND w.step = v.d AND w.item = v.e AND w.kind = 'step' AND w.owner IS NULL
            RETURNING w.step, w.item, w.id, w.fence""",
    ),
    sql.LEASED: (
        "text text int text int bool bool float8 text",
        sql.LEASED.replace(
            "VALUES ('step', %s, %s, %s, '', %s, %s, %s, %s, %s, %s, 1)",
            "SELECT 'step', v.a, v.b, v.c, '', v.d, v.e, v.f, v.g, v.h, v.i, 1 FROM v",
        ),
    ),
    sql.QUEUED: (
        "text text int text int bool bool float8 float8 float8",
        sql.QUEUED.replace(
            "VALUES ('step', %s, %s, %s, '', %s, %s, %s, %s, %s, %s, %s, NULL, 0)",
            "SELECT 'step', v.a, v.b, v.c, '', v.d, v.e, v.f, v.g, v.h, v.i, v.j, NULL, 0 FROM v",
        ),
    ),
    sql.DELETE: (
        "text text int",
        "DELETE FROM runs_work AS w USING v WHERE w.run_id = v.a AND w.step = v.b AND w.item = v.c",
    ),
    sql.DELETE_RUN: ("text", "DELETE FROM runs_work AS w USING v WHERE w.run_id = v.a"),
}


def _whole(types: str, body: str) -> str:
    kinds = types.split()
    names = ", ".join("abcdefghijklmnop"[: len(kinds)])
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return f"WITH v AS (SELECT * FROM unnest({arrays}) AS u({names})) {body}"  # noqa: S608  constants


_MADE: Final = {
    one: (_whole(types, body), tuple(kind == "text" for kind in types.split())) for one, (types, body) in _WIDE.items()
}


def whole(statement: str, rows: Sequence[Sequence[Any]]) -> tuple[str, list[str]] | None:
    """(statement, parameters) that do the same to all `rows` at once; None where there is no such form."""
    if statement not in _MADE:
        return None
    made, texts = _MADE[statement]
    return made, [
        text_array(column) if text else array(column)
        for text, column in zip(texts, zip(*rows, strict=True), strict=True)
    ]


def array(values: Sequence[Any]) -> str:
    """Numbers or truths (or None) as PostgreSQL writes arrays; "True" is one of its names for it."""
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


# The driver's own way looks at each value several times. These stand for what is between values, and for None; where
# a text has one itself, each value is looked at after all.
_BETWEEN: Final = "\x1f"
_NONE: Final = "\x1e"


def text_array(values: Sequence[str | None]) -> str:
    """Texts (or None) as PostgreSQL writes arrays."""
    nones = values.count(None)
    joined = _BETWEEN.join([_NONE if v is None else v for v in values] if nones else values)  # type: ignore[arg-type]
    if joined.count(_BETWEEN) != len(values) - 1 or joined.count(_NONE) != nones:
        return "{" + ",".join(map(_element, values)) + "}"
    whole = '"' + _escaped(joined).replace(_BETWEEN, '","') + '"'
    return "{" + (whole.replace(f'"{_NONE}"', "NULL") if nones else whole) + "}"


def _element(value: str | None) -> str:
    return "NULL" if value is None else f'"{_escaped(value)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
