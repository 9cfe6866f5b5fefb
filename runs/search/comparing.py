"""Everything there is beside everything that is indexed: what is missing, old or gone is mended, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from flows.models import Flow
from resources.models import Artifact, Connection
from runs.models import Run, SearchEntry
from runs.search import documents

Kind = SearchEntry.Kind
#: objects compared at once
PAGE: Final = 1000
#: objects mended at once
BATCH: Final = 50


def all_kinds() -> Iterator[None]:
    """Goes on a little with each `next`; ends when all is compared."""
    from runs.search.keeping import refresh

    for kind in Kind.values:
        for there, after, last in _pages(kind):
            wrong = list(_wrong(kind, there, after, last))
            for i in range(0, len(wrong), BATCH):
                refresh(kind, wrong[i : i + BATCH])
                yield
            yield


def all_of(kind: str) -> Iterator[list[str]]:
    """The ids of all there are, and of all that are indexed and gone, at most some thousand at a time."""
    for there, after, last in _pages(kind):
        gone = [pk for pk in _wrong(kind, there, after, last) if pk not in there]
        yield [*there, *gone]


def _pages(kind: str) -> Iterator[tuple[dict[str, str], str, str | None]]:
    """({id: mark}, the id before them, the last of them or None where no more follow)."""
    after: str | None = ""
    while after is not None:
        there = _page(kind, after)
        last = list(there)[-1] if len(there) == PAGE else None  # their order is the database's
        yield there, after, last
        after = last


def _page(kind: str, after: str) -> dict[str, str]:
    """{id: mark} of at most PAGE objects behind `after`, in the order of their ids."""
    return dict(list(_SOURCES[kind](after)))


def _wrong(kind: str, there: dict[str, str], after: str, last: str | None) -> Iterable[str]:
    rows = SearchEntry.objects.filter(kind=kind, object_id__gt=after)
    rows = rows if last is None else rows.filter(object_id__lte=last)
    known = dict(rows.values_list("object_id", "mark"))
    yield from (pk for pk, mark in there.items() if known.get(pk) != mark)
    yield from (pk for pk in known if pk not in there)


def _runs(after: str) -> Iterator[tuple[str, str]]:
    rows = Run.objects.filter(pk__gt=after).order_by("pk").values_list("pk", "status")[:PAGE]
    yield from ((pk, documents.mark_of_run(status)) for pk, status in rows)


def _flows(after: str) -> Iterator[tuple[str, str]]:
    columns = ("slug", "draft__revision", "live_id", "folder", "title")
    rows = Flow.objects.filter(slug__gt=after).order_by("slug").values_list(*columns)[:PAGE]
    yield from ((slug, documents.mark_of_flow(*rest)) for slug, *rest in rows)


def _connections(after: str) -> Iterator[tuple[str, str]]:
    rows: Any = Connection.objects.filter(name__gt=after).order_by("name").values_list("name", "version")[:PAGE]
    yield from ((name, str(version)) for name, version in rows)


def _resources(after: str) -> Iterator[tuple[str, str]]:
    rows = Artifact.objects.filter(pk__gt=after, condemned_at__isnull=True).order_by("pk")
    yield from ((pk, documents.hash_of(str(labels))) for pk, labels in rows.values_list("pk", "labels")[:PAGE])


_SOURCES: Final = {
    Kind.RUN.value: _runs,
    Kind.FLOW.value: _flows,
    Kind.CONNECTION.value: _connections,
    Kind.RESOURCE.value: _resources,
}
