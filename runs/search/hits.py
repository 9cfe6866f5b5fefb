"""From entries to what people and programs get: checked once more against what is there now, with the part that shows
why it was found, and the object itself where it is asked for, within a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet

from flows.models import Flow
from resources import artifacts, veiling
from resources.access import Actor, folder_filter
from resources.catalogue import visible as visible_resources
from resources.connections import address_of
from resources.errors import OrchestraError
from resources.fields import dumps
from resources.models import Artifact, Connection
from runs import filters
from runs.hidden import hide
from runs.models import Run, SearchEntry
from runs.search.documents import is_text
from runs.search.finding import Asked, Found, find
from runs.search.snippets import Snippet, snippet
from runs.sensitive.rows import of_run

Json = Any
Kind = SearchEntry.Kind
#: characters of one text of an object, and of the JSON of its input and output
MAX_TEXT: Final = 8_192
_PAGES: Final[Mapping[str, str]] = {
    Kind.RUN: "/runs/{}", Kind.FLOW: "/flows/{}", Kind.RESOURCE: "/resources/{}", Kind.CONNECTION: "/connections",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hit:
    """`object`: the object as JSON where it was asked for. `at`: epoch seconds."""

    kind: str
    id: str
    title: str
    snippet: Snippet
    score: float
    url: str
    at: float
    status: str = ""
    object: Json = None


@dataclass(frozen=True, slots=True)
class Answer:
    hits: list[Hit]
    total: int
    more: bool
    next_cursor: str | None


def search(actor: Actor, asked: Asked, *, hydrate: bool = False) -> Answer:
    """What `actor` may see, the best first. Raises BadInput."""
    found = find(actor, asked)
    there = _there(actor, [entry for entry, _ in found.entries])
    hits = [
        _hit(entry, score, found, there[entry.kind, entry.object_id] if hydrate else None)
        for entry, score in found.entries
        if (entry.kind, entry.object_id) in there
    ]
    return Answer(hits, found.total, found.more, found.next_cursor)


def _hit(entry: SearchEntry, score: float, found: Found, row: Any) -> Hit:
    return Hit(
        entry.kind, entry.object_id, entry.title, snippet(entry.body, found.question.wanted()), round(score, 6),
        _PAGES[entry.kind].format(entry.object_id), entry.at, entry.status,
        None if row is None else _OBJECTS[entry.kind](row),
    )  # fmt: skip


def _there(actor: Actor, entries: Iterable[SearchEntry]) -> dict[tuple[str, str], Any]:
    """The objects that still are there and that the actor may see now."""
    ids: dict[str, list[str]] = {}
    for entry in entries:
        ids.setdefault(entry.kind, []).append(entry.object_id)
    found: dict[tuple[str, str], Any] = {}
    for kind, wanted in ids.items():
        rows, key = _rows(actor, kind)
        found |= {(kind, getattr(row, key)): row for row in rows.filter(**{f"{key}__in": wanted})}
    return found


def _rows(actor: Actor, kind: str) -> tuple[QuerySet[Any], str]:
    if kind == Kind.RUN:
        return filters.visible(actor).select_related("flow", "release").defer("release__source"), "id"
    if kind == Kind.FLOW:
        return Flow.objects.filter(folder_filter(actor, "viewer")).select_related("draft", "live"), "slug"
    if kind == Kind.RESOURCE:
        return visible_resources(actor).select_related("blob"), "id"
    return Connection.objects.all(), "name"  # the statement has asked for a role


# -- objects ---------------------------------------------------------------------------------------------------
def _bounded(value: Json) -> Json:
    """JSON, or the beginning of its text where it is long."""
    text = dumps(value)
    return value if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"


def _run(run: Run) -> Json:
    veil = of_run(run)
    return {
        "id": run.pk,
        "flow": run.flow.slug,
        "release": run.release.version,
        "status": run.status,
        "input": _bounded(hide(veil.input(run.input))),
        "output": _bounded(hide(veil.tree(run.output))),
        "error": _bounded(hide(veil.tree(run.error))),
    }


def _flow(flow: Flow) -> Json:
    return {
        "slug": flow.slug,
        "folder": flow.folder,
        "title": flow.title,
        "live": flow.live.version if flow.live is not None else None,
        "source": (flow.live or flow.draft).source[:MAX_TEXT],
    }


def _resource(row: Artifact) -> Json:
    text = None
    if is_text(row):
        try:
            text = _text_of(row)
        except (OrchestraError, OSError):
            text = None  # its page says what is wrong with it
    return {
        **artifacts.ref(row), "name": row.name, "folder": row.folder, "run": row.run_id or None, "labels": row.labels,
        "text": text,
    }  # fmt: skip


def _text_of(row: Artifact) -> str | None:
    """The beginning of its text, without what is sensitive in its run. Raises OrchestraError, OSError."""
    if veiling.content_of(row) is not None:
        return None
    shown = veiling.of_run(row.run_id).text(artifacts.preview(row).text)
    return str(hide(shown[:MAX_TEXT]))


def _connection(row: Connection) -> Json:
    return {"name": row.name, "kind": row.kind, "address": address_of(row.settings)}


_OBJECTS: Final[Mapping[str, Callable[[Any], Json]]] = {
    Kind.RUN: _run,
    Kind.FLOW: _flow,
    Kind.RESOURCE: _resource,
    Kind.CONNECTION: _connection,
}
