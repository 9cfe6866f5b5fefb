"""Columns of payloads, batch by batch: what is sealed under an older key is sealed anew, and what is plain is sealed.

Safe beside everything else. On PostgreSQL rows that somebody else holds are passed over and looked at again, so nobody
is waited for; SQLite has one writer. Broken off, it goes on where it was: what is done is not found again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.db import connection, models, transaction

from resources import audit
from resources.access import Actor
from resources.crypto import CannotDecrypt
from resources.fields import JSONText
from resources.payloads import BOUND, EMPTY, MARK_LENGTH, MARKS, Column, split

BATCH: Final = 200
#: looks at a table until one finds nothing left; others may write under an old key meanwhile, but not for ever
MAX_PASSES: Final = 5
_Row = tuple[Any, ...]


@dataclass(slots=True)
class Resealed:
    """What came of one column or table. `lost`: rows (their names) that no key of the ring opens."""

    label: str
    changed: int = 0
    lost: list[str] = field(default_factory=list)
    left: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One with columns that may be sealed. All of them name their row alike."""

    model: type[models.Model]
    columns: tuple[Column, ...]
    binary: bool

    @property
    def name(self) -> str:
        return self.columns[0].table

    @property
    def key(self) -> str:
        return str(self.model._meta.pk.column)

    @property
    def row(self) -> tuple[str, ...]:
        return self.columns[0].row


def tables() -> list[Table]:
    """All of the product, in the order of its apps."""
    found = []
    for model in apps.get_models():
        fields = [f for f in model._meta.local_fields if getattr(f, "row", ()) and hasattr(f, "payload")]
        if fields:
            binary = isinstance(fields[0], models.BinaryField)
            found.append(Table(model, tuple(f.payload for f in fields), binary))
    return found


def key_counts() -> dict[str, int]:
    """{key id: how many values it seals}. Reads the beginning of every value."""
    total: Counter[str] = Counter()
    for table in tables():
        for column in table.columns:
            total += _counted(table, column)
    return dict(total)


def _counted(table: Table, column: Column) -> Counter[str]:
    name = connection.ops.quote_name(column.name)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT substr({name}, 1, 48), count(*) FROM {table.name} "  # noqa: S608  our own names
            f"WHERE substr({name}, 1, {MARK_LENGTH}) IN (%s, %s) GROUP BY 1",
            _marks(table),
        )
        rows = cursor.fetchall()
    found: Counter[str] = Counter()
    for head, count in rows:
        found[split(_as_text(head))[1]] += count
    return found


def count_plain() -> int:
    """Values that could be sealed and are not."""
    total = 0
    for table in tables():
        for column in table.columns:
            where, params = _plain(table, column)
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {table.name} WHERE {where}", params)  # noqa: S608
                total += cursor.fetchone()[0]
    return total


def reseal(*, actor: Actor, plain: bool) -> Iterator[Resealed]:
    """Each table in turn, under the newest key of the ring; with `plain`, also what was never sealed.

    Each batch is audited.
    """
    for table in tables():
        done = Resealed(table.name)
        _reseal(actor, table, plain, done)
        yield done


def _reseal(actor: Actor, table: Table, plain: bool, done: Resealed) -> None:
    for _ in range(MAX_PASSES):
        done.lost, after = [], None
        while rows := _page(actor, table, plain, after, done):
            after = rows[-1][0]
        done.left = _count(table, plain) > len(done.lost)
        if not done.left:
            return


@transaction.atomic
def _page(actor: Actor, table: Table, plain: bool, after: Any, done: Resealed) -> list[_Row]:
    """One batch behind the key `after`; the rows that were looked at."""
    rows, changed = _read(table, plain, after), 0
    for key, *values in rows:
        names, texts = values[: len(table.row)], values[len(table.row) :]
        try:
            fresh = _fresh(table, plain, names, texts)
        except CannotDecrypt:
            done.lost.append(str(key))
            continue
        if fresh:
            _write(table, key, fresh)
            changed += 1
    if changed:
        data = {"column": table.name, "rows": changed}
        action = "payloads.sealed" if plain else "keys.rotated"
        audit.record(actor=actor, action=action, object_type="key", object_id=_newest(), data=data)
    done.changed += changed
    return rows


def _read(table: Table, plain: bool, after: Any) -> list[_Row]:
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, (table.key, *table.row, *(c.name for c in table.columns))))
    where, params = _wanted(table, plain)
    behind = "" if after is None else f"{table.key} > %s AND "
    lock = "FOR NO KEY UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {table.name} WHERE {behind}({where}) "  # noqa: S608  our own names
            f"ORDER BY {table.key} LIMIT {BATCH} {lock}",
            [*([] if after is None else [after]), *params],
        )
        return list(cursor.fetchall())


def _write(table: Table, key: Any, fresh: dict[str, Any]) -> None:
    changes = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in fresh)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table.name} SET {changes} WHERE {table.key} = %s",  # noqa: S608  our own names
            [*fresh.values(), key],
        )


def _fresh(table: Table, plain: bool, row: Sequence[Any], values: Sequence[Any]) -> dict[str, Any]:
    """{column: its new value} of those that are to change. Raises CannotDecrypt."""
    found: dict[str, Any] = {}
    for column, value in zip(table.columns, values, strict=True):
        text = None if value is None else _as_text(value)
        if text is None or text in EMPTY or text.startswith(f"{BOUND}{_newest()}:"):
            continue
        if text.startswith(MARKS):
            tag = split(text)[2]
            sealed = column.seal_bytes(column.open_bytes(text, row), row, tag)
        elif plain:
            sealed = _sealed(table, column, text, row)
        else:
            continue
        found[column.name] = sealed.encode() if table.binary else sealed
    return found


def _sealed(table: Table, column: Column, text: str, row: Sequence[Any]) -> str:
    if table.binary:
        return column.seal_bytes(text.encode("latin-1"), row)
    json = isinstance(table.model._meta.get_field(column.name), JSONText)
    return column.seal(text, row, column.tag_of(column.load(text)) if json else "")


# -- what is to be done ------------------------------------------------------------------------------------------
def _wanted(table: Table, plain: bool) -> tuple[str, list[Any]]:
    parts = [_old(table, column) for column in table.columns]
    parts += [_plain(table, column) for column in table.columns] if plain else []
    return " OR ".join(where for where, _ in parts), [param for _, params in parts for param in params]


def _old(table: Table, column: Column) -> tuple[str, list[Any]]:
    name, current = connection.ops.quote_name(column.name), f"{BOUND}{_newest()}:"
    where = f"(substr({name}, 1, {MARK_LENGTH}) IN (%s, %s) AND substr({name}, 1, {len(current)}) <> %s)"
    return where, [*_marks(table), current.encode() if table.binary else current]


def _plain(table: Table, column: Column) -> tuple[str, list[Any]]:
    name = connection.ops.quote_name(column.name)
    empty: list[Any] = [b""] if table.binary else sorted(EMPTY)
    nothing = ", ".join(["%s"] * len(empty))
    where = f"({name} NOT IN ({nothing}) AND substr({name}, 1, {MARK_LENGTH}) NOT IN (%s, %s))"
    return where, [*empty, *_marks(table)]


def _count(table: Table, plain: bool) -> int:
    where, params = _wanted(table, plain)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.name} WHERE {where}", params)  # noqa: S608  our own names
        return int(cursor.fetchone()[0])


def _marks(table: Table) -> list[Any]:
    return [mark.encode() if table.binary else mark for mark in MARKS]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode("latin-1")


def _newest() -> str:
    return str(next(iter(settings.ENCRYPTION_KEYS)))
