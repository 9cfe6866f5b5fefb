"""Everything indexed anew, whatever the index says it knows."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection, transaction

from runs.models import SearchEntry
from runs.search.comparing import BATCH, all_of
from runs.search.keeping import refresh


def rebuild() -> Iterator[tuple[str, int]]:
    """(kind, how many) after each kind. What is gone is forgotten; words without an entry are, too."""
    drop_loose_words()
    for kind in SearchEntry.Kind.values:
        count = 0
        for ids in all_of(kind):
            for i in range(0, len(ids), BATCH):
                refresh(kind, ids[i : i + BATCH])
            count += len(ids)
        yield kind, count


def drop_loose_words() -> None:
    """On SQLite words lie in a table of their own, which nothing but runs/search/index.py keeps beside the entries."""
    if connection.vendor == "postgresql":
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM runs_searchwords WHERE rowid NOT IN (SELECT id FROM runs_searchentry)")


def forget_dropped_words() -> None:
    """SQLite only marks words as dropped, until pieces of the index are merged: merge all of them now."""
    if connection.vendor == "postgresql":
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO runs_searchwords (runs_searchwords) VALUES ('optimize')")
