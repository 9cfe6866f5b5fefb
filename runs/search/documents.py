"""Rows -> what of them is found. Reads rows and the beginnings of texts; writes nothing.

Never in it: secrets (no setting of a connection but its address), addresses that answer a wait, what a schema marks as
sensitive, and the content of resources and payloads that are encrypted at rest, which would lie here in the open.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from flows.definition.sensitive import MARK
from flows.models import Flow
from resources import artifacts, veiling
from resources.connections import address_of
from resources.crypto import CannotDecrypt
from resources.errors import OrchestraError
from resources.models import Artifact, Connection
from runs.hidden import hide
from runs.models import ENDED, Run, SearchEntry
from runs.sensitive.rows import of_run

Json = Any
Kind = SearchEntry.Kind
logger = logging.getLogger(__name__)

#: characters of a text that is indexed, and of the JSON of one input, output or error in it
MAX_BODY: Final = 16_384
MAX_JSON: Final = 6_000
_TEXTS: Final = ("text/", "application/json", "application/yaml", "application/xml", "application/x-ndjson")


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    object_id: str
    title: str
    body: str
    at: float
    flow: str = ""
    folder: str = ""
    status: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mark: str = ""


def of(kind: str, ids: Sequence[str]) -> list[Document]:
    """Of those that are there; the others are gone."""
    return list(_MAKERS[kind](ids))


def clean(text: str) -> str:
    """Text that both databases keep."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def texts(value: Json) -> Iterator[str]:
    """Every key and every plain value of JSON, in order. No recursion: JSON of people may be deep."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [part for pair in reversed(item.items()) for part in reversed(pair)]
        elif isinstance(item, list):
            stack += reversed(item)
        elif item is not None and not isinstance(item, bool):
            yield str(item)


def bounded(parts: Iterable[str], most: int) -> str:
    """The parts in one text of at most `most` characters."""
    found, size = [], 0
    for part in parts:
        if size >= most:
            break
        found.append(part[: most - size])
        size += len(found[-1]) + 1
    return " ".join(found)


# -- runs ------------------------------------------------------------------------------------------------------
def _runs(ids: Sequence[str]) -> Iterator[Document]:
    rows = Run.objects.filter(pk__in=ids).select_related("flow", "release")
    for run in rows.defer("release__source", "release__plan_json", "control"):
        yield _run(run)


def mark_of_run(status: str) -> str:
    """Changes with the setting, too: a comparison then finds what is indexed in the open."""
    return f"{status} sealed" if settings.ENCRYPT_PAYLOADS else status


def _run(run: Run) -> Document:
    parts = [run.pk, run.flow.slug, run.error_class]
    if not settings.ENCRYPT_PAYLOADS:
        try:
            parts = _told(run)
        except CannotDecrypt as error:  # sealed while the setting was on, and its key is gone
            logger.warning("the run %s is found by its id only: %s", run.pk, error)
    body = " · ".join(filter(None, map(str.strip, parts)))
    return Document(
        Kind.RUN, run.pk, (run.flow.title or run.flow.slug)[:200], body,
        run.created_at, flow=run.flow.slug, status=run.status if run.status in ENDED else "open",
        mark=mark_of_run(run.status),
    )  # fmt: skip


def _told(run: Run) -> list[str]:
    """What is found of a run whose payloads lie in the open."""
    veil = of_run(run)
    error = run.error if isinstance(run.error, dict) else {}
    parts = [
        run.pk,
        run.flow.slug,
        str(run.trigger.get("kind", "")) + " " + str(run.trigger.get("name", "")),
        bounded((str(error.get(key) or "") for key in ("class", "step", "message")), MAX_JSON),
        bounded(texts(hide(veil.input(run.input))), MAX_JSON),
        bounded(texts(hide(run.output)), MAX_JSON),
    ]
    return [veil.text(" · ".join(filter(None, map(str.strip, parts)))).replace(MARK, "…")]


# -- flows -----------------------------------------------------------------------------------------------------
def _flows(ids: Sequence[str]) -> Iterator[Document]:
    rows = Flow.objects.filter(slug__in=ids).select_related("draft", "live")
    for flow in rows:
        yield _flow(flow)


def mark_of_flow(revision: int | None, live: int | None, folder: str, title: str) -> str:
    return f"{revision}:{live}:{hash_of(folder + title)}"


def hash_of(text: str) -> str:
    """Short; to notice a change."""
    return f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def _flow(flow: Flow) -> Document:
    live, draft = flow.live, getattr(flow, "draft", None)
    sources = list(dict.fromkeys(text.source for text in (live, draft) if text is not None))
    labels = live.plan.labels if live is not None else {}
    return Document(
        Kind.FLOW, flow.slug, (flow.title or flow.slug)[:200],
        bounded([flow.slug, *(source[: MAX_BODY // 2] for source in sources)], MAX_BODY),
        flow.updated_at.timestamp(), flow=flow.slug, status="draft" if live is None else "live", labels=labels,
        mark=mark_of_flow(draft and draft.revision, flow.live_id, flow.folder, flow.title),
    )  # fmt: skip


# -- connections -----------------------------------------------------------------------------------------------
def _connections(ids: Sequence[str]) -> Iterator[Document]:
    for row in Connection.objects.filter(name__in=ids):
        yield Document(
            Kind.CONNECTION, row.name, row.name, f"{row.kind} {address_of(row.settings)}", row.updated_at.timestamp(),
            mark=str(row.version),
        )  # fmt: skip


# -- resources -------------------------------------------------------------------------------------------------
def _resources(ids: Sequence[str]) -> Iterator[Document]:
    rows = Artifact.objects.select_related("blob").filter(pk__in=ids, condemned_at__isnull=True)
    for row in rows:
        yield Document(
            Kind.RESOURCE, row.pk, row.name or f"res://{row.pk}",
            " ".join(filter(None, [row.pk, row.content_type, row.step, *(f"{k}={v}" for k, v in row.labels.items()),
                                   _content(row)])),
            row.created_at.timestamp(), folder=row.folder, labels=row.labels, mark=hash_of(str(row.labels)),
        )  # fmt: skip


def is_text(row: Artifact) -> bool:
    return row.content_type.startswith(_TEXTS) or row.content_type.endswith(("+json", "+xml"))


def _content(row: Artifact) -> str:
    """The beginning of its text; nothing of one that is encrypted, holds what is sensitive, or cannot be read now."""
    if not is_text(row) or row.blob.key_id or veiling.content_of(row) is not None:
        return ""
    try:
        with artifacts.open_row(row) as file:
            data = file.read(MAX_BODY)
    except (OrchestraError, OSError) as error:
        logger.warning("%s is found by its name only: %s", row, error)
        return ""
    return "" if b"\0" in data else hide(veiling.of_run(row.run_id).text(data.decode(errors="replace")))


_MAKERS: Final = {
    Kind.RUN.value: _runs,
    Kind.FLOW.value: _flows,
    Kind.CONNECTION.value: _connections,
    Kind.RESOURCE.value: _resources,
}
