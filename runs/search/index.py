"""Writing the index: an entry and its words in one short transaction, away from what runs do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import connection, transaction

from runs.models import SearchEntry
from runs.search import words
from runs.search.documents import MAX_BODY, Document, clean

#: entries written in one transaction
BATCH: Final = 50
_COLUMNS: Final = ("kind", "object_id", "flow", "folder", "status", "labels", "at", "title", "body", "mark")
_PUT: Final = (
    "INSERT INTO runs_searchentry ({names}) VALUES ({values}) ON CONFLICT (kind, object_id) DO UPDATE SET {changes} "
    "RETURNING id"
)
_FORGET_WORDS: Final = "DELETE FROM runs_searchwords WHERE rowid = %s"


def put(documents: Sequence[Document]) -> None:
    """Those that are there already are replaced."""
    for i in range(0, len(documents), BATCH):
        rows = [_row(document) for document in documents[i : i + BATCH]]  # the work, before the transaction
        with transaction.atomic(), connection.cursor() as cursor:
            for values, title, body in rows:
                _put_one(cursor, values, title, body)


def _row(document: Document) -> tuple[list[Any], str, str]:
    """(columns, the words of the title, of the body) as this database keeps them."""
    title, body = clean(document.title)[:200], clean(document.body)[:MAX_BODY]
    values = [
        document.kind, document.object_id, document.flow, document.folder, document.status,
        lines(document.labels.items()), document.at, title, body, document.mark,
    ]  # fmt: skip
    if connection.vendor == "postgresql":
        return [*values, words.vector(title, body)], "", ""
    return values, " ".join(words.words_of(title)), " ".join(words.words_of(body))


def lines(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as the column has them: a pair is found as a whole line."""
    found = "".join(f"{name}={clean(str(text))}\n" for name, text in labels)
    return f"\n{found}" if found else ""


def _put_one(cursor: Any, values: list[Any], title: str, body: str) -> None:
    names = [*_COLUMNS, "vector"] if connection.vendor == "postgresql" else list(_COLUMNS)
    marks = ", ".join("%s::tsvector" if name == "vector" else "%s" for name in names)
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    cursor.execute(_PUT.format(names=", ".join(names), values=marks, changes=changes), values)
    if connection.vendor != "postgresql":
        (pk,) = cursor.fetchone()
        cursor.execute(_FORGET_WORDS, [pk])
        cursor.execute("INSERT INTO runs_searchwords (rowid, title, body) VALUES (%s, %s, %s)", [pk, title, body])


def drop(kind: str, ids: Sequence[str]) -> None:
    """Those that are gone; one that is not there is no error."""
    for i in range(0, len(ids), BATCH):
        with transaction.atomic(), connection.cursor() as cursor:
            found = SearchEntry.objects.filter(kind=kind, object_id__in=ids[i : i + BATCH])
            if connection.vendor != "postgresql":
                for pk in found.values_list("pk", flat=True):
                    cursor.execute(_FORGET_WORDS, [pk])
            found.delete()
