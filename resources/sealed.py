"""Every column that holds sealed values, registered once; sealing them anew under the newest key of the ring.

Safe beside everything else: a row is changed only while it still holds the bytes that were read, and both keys open
while it runs. Broken off, it goes on where it was: what is sealed under the newest key is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models, transaction

from resources import audit, blobs, crypto, resealing
from resources.access import Actor
from resources.errors import OrchestraError
from resources.models import Blob
from resources.resealing import Resealed

BATCH = 100
#: looks at a column until one finds nothing left; others may seal under an old key meanwhile, but not for ever
MAX_PASSES = 5


@dataclass(frozen=True, slots=True)
class Column:
    """`place`: the associated data of a value, of the row's columns `names`. `key_column`: has the key's id, or ""."""

    label: str
    model: type[models.Model]
    column: str
    names: tuple[str, ...]
    place: Callable[..., bytes]
    key_column: str = ""


@dataclass(frozen=True, slots=True)
class InUse:
    """How many values each key seals, by column: {label: {key id: rows}}."""

    columns: dict[str, dict[str, int]]

    @property
    def keys(self) -> dict[str, int]:
        return dict(sum((Counter(counts) for counts in self.columns.values()), Counter()))

    @property
    def missing(self) -> list[str]:
        """Keys that values need and the ring does not have."""
        return sorted(set(self.keys) - set(settings.ENCRYPTION_KEYS))

    @property
    def droppable(self) -> list[str]:
        """Keys of the ring, but the newest, that nothing here needs."""
        _, *older = settings.ENCRYPTION_KEYS
        return [key_id for key_id in older if key_id not in self.keys]


_columns: list[Column] = []
_Row = tuple[Any, bytes, tuple[Any, ...]]


def register(column: Column) -> None:
    """Called once for every sealed column, from an app's ready()."""
    if column.label not in [known.label for known in _columns]:
        _columns.append(column)


def newest() -> str:
    return next(iter(settings.ENCRYPTION_KEYS))


def in_use() -> InUse:
    """How things are now. Reads every sealed value."""
    counts = {column.label: _counted(column) for column in _columns}
    return InUse({**counts, "resource": blobs.key_counts(), "payload": resealing.key_counts()})


def _counted(column: Column) -> dict[str, int]:
    return dict(Counter(_key_id(sealed) for page in _batches(column) for _, sealed, _ in page))


def reseal_all(*, actor: Actor) -> list[Resealed]:
    """Seal everything under the newest key, a batch a transaction. What was changed is audited with each batch."""
    return [
        *(_reseal(actor, column) for column in _columns),
        _reseal_blobs(actor),
        _together(resealing.reseal(actor=actor, plain=False)),
    ]


def _together(tables: Iterable[Resealed]) -> Resealed:
    """Payloads are many tables, and one line for whoever rotates."""
    done = Resealed("payload")
    for one in tables:
        done.changed, done.left = done.changed + one.changed, done.left or one.left
        done.lost += [f"{one.label} {name}" for name in one.lost]
    return done


def _reseal_blobs(actor: Actor) -> Resealed:
    """Bytes of resources that are encrypted; those that are not stay so."""
    done, after = Resealed("resource"), ""
    older = Blob.objects.exclude(key_id__in=("", newest())).order_by("pk")
    while page := list(older.filter(pk__gt=after)[:BATCH]):
        changed = [blob for blob in page if _reseal_blob(blob, done)]
        if changed:
            with transaction.atomic():
                data = {"column": done.label, "rows": len(changed)}
                audit.record(actor=actor, action="keys.rotated", object_type="key", object_id=newest(), data=data)
        done.changed, after = done.changed + len(changed), page[-1].pk
    done.left = older.exclude(pk__in=done.lost).exists()
    return done


def _reseal_blob(blob: Blob, done: Resealed) -> bool:
    try:
        return blobs.reseal(blob)
    except (OrchestraError, OSError):
        done.lost.append(blob.pk)
        return False


def _reseal(actor: Actor, column: Column) -> Resealed:
    done = Resealed(column.label)
    for _ in range(MAX_PASSES):
        done.lost, done.left = [], False
        for page in _batches(column):
            _reseal_page(actor, column, [row for row in page if _key_id(row[1]) != newest()], done)
        if not done.left:
            break
    return done


def _reseal_page(actor: Actor, column: Column, page: list[_Row], done: Resealed) -> None:
    with transaction.atomic():
        outcomes = Counter(_reseal_row(column, row, done.lost) for row in page)
        if outcomes["changed"]:
            data = {"column": column.label, "rows": outcomes["changed"]}
            audit.record(actor=actor, action="keys.rotated", object_type="key", object_id=newest(), data=data)
    done.changed += outcomes["changed"]
    done.left |= bool(outcomes["changed"] or outcomes["overtaken"])


def _reseal_row(column: Column, row: _Row, lost: list[str]) -> str:
    """changed, overtaken (somebody else wrote it meanwhile) or lost."""
    pk, sealed, names = row
    place = column.place(*names)
    try:
        plain = crypto.open_(sealed, aad=place)
    except crypto.CannotDecrypt:
        lost.append(" ".join(map(str, names)))
        return "lost"
    new: dict[str, Any] = {column.column: crypto.seal(plain, aad=place)}
    if column.key_column:
        new[column.key_column] = newest()
    rows = column.model._default_manager.filter(pk=pk, **{column.column: sealed})
    return "changed" if rows.update(**new) else "overtaken"


def _batches(column: Column) -> Iterator[list[_Row]]:
    """All rows that hold a value, page by page: each page is read whole before any of it is changed."""
    filled = column.model._default_manager.exclude(**{column.column: None}).exclude(**{column.column: b""})
    rows = filled.order_by("pk").values_list("pk", column.column, *column.names)
    page = list(rows[:BATCH])
    while page:
        yield [(pk, bytes(sealed), tuple(names)) for pk, sealed, *names in page]
        page = list(rows.filter(pk__gt=page[-1][0])[:BATCH])


def _key_id(sealed: bytes) -> str:
    try:
        return crypto.key_id_of(sealed)
    except crypto.CannotDecrypt:
        return "?"
