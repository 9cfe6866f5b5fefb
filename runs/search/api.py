"""API v1: search."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from ninja.params.functions import Query as Bounded

from resources.api import Text, actor_of, declared, iso, moment
from runs.search import hits
from runs.search.finding import KINDS, MAX_LIMIT, RANKED, STATUSES, Asked
from runs.search.words import MAX_QUERY

router = Router(tags=["search"])


class HitOut(Schema):
    kind: str = Field(description="run, flow, resource or connection.")
    id: str = Field(description="Id of a run or resource, slug of a flow, name of a connection.")
    title: str
    snippet: str = Field(description="Plain text, in one line: where most of what was asked for stands.")
    marks: list[tuple[int, int]] = Field(description="[start, end] in characters of the snippet: what was asked for.")
    score: float = Field(description="Higher is better; comparable within one answer only.")
    url: str = Field(description="Path of its page.")
    at: str = Field(description="When a run or resource was made, a flow or connection changed last.")
    status: str
    object: Any = Field(description="With `hydrate`: the object, long texts of it cut.")


class SearchOut(Schema):
    items: list[HitOut]
    total: int = Field(description=f"How many there are that one may see; {RANKED} at most.")
    more: bool = Field(description="There are more than `total`; the newest were ranked.")
    next_cursor: str | None


class SearchFilters(Schema):
    q: Text = Field(
        description=f'Words and "phrases"; `-` excludes, `or` is between alternatives. {MAX_QUERY} characters.'
    )
    kinds: Text = Field("", alias="in", description=f"Of {', '.join(KINDS)}, with commas between; all if empty.")
    flow: Text = Field("", description="Slug: runs of it, and itself.")
    folder: Text = Field("", description="This folder and all below it.")
    label: Text = Field("", description="name=text, of flows and resources.")
    status: Text = Field("", description=f"{', '.join(STATUSES)}.")
    since: Text = ""
    before: Text = ""
    hydrate: bool = False


@router.get("/search", response=declared((200, SearchOut)))
def search(
    request: HttpRequest, asked: Query[SearchFilters], cursor: Text = "", limit: int = Bounded(10, ge=1, le=MAX_LIMIT)
) -> dict[str, Any]:
    """Full text over resources, runs, flows and connections that one may see, the best first. A second behind."""
    since, before = (moment(t, path) if t else None for t, path in ((asked.since, "since"), (asked.before, "before")))
    kinds = tuple(kind.strip() for kind in asked.kinds.split(",") if kind.strip())
    wanted = Asked(
        asked.q, kinds, asked.flow, asked.folder, asked.label, asked.status, since, before, limit=limit, cursor=cursor
    )
    found = hits.search(actor_of(request), wanted, hydrate=asked.hydrate)
    return {"items": [out(hit) for hit in found.hits], "total": found.total, "more": found.more,
            "next_cursor": found.next_cursor}  # fmt: skip


def out(hit: hits.Hit) -> dict[str, Any]:
    return {
        "kind": hit.kind,
        "id": hit.id,
        "title": hit.title,
        "snippet": hit.snippet.text,
        "marks": [list(mark) for mark in hit.snippet.marks],
        "score": hit.score,
        "url": hit.url,
        "at": iso(hit.at),
        "status": hit.status,
        "object": hit.object,
    }
