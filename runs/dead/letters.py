"""Dead letters: runs that gave up and wait for a person. Which there are, of which kind, and their filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from django.db.models import Count, Max, Q, QuerySet

from resources.access import Actor, folder_filter
from resources.errors import BadInput
from resources.paging import decode_cursor, encode_cursor
from runs.dead import words
from runs.models import Run

Json = Any
MAX_IDS: Final = 500
#: groups that are listed; there are few error classes, but there may be many flows
MAX_GROUPS: Final = 50


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty fields do not narrow. `since`, `until`: epoch seconds of when it gave up, the latter excluded.

    `folder` includes all below it; `q` is looked for in the run's id, the flow and the error.
    """

    error_class: str = ""
    flow: str = ""
    folder: str = ""
    q: str = ""
    since: float | None = None
    until: float | None = None
    ids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.ids) > MAX_IDS:
            raise BadInput(f"At most {MAX_IDS} runs can be named.", code="too_many", hint="Use a filter.")

    def to_json(self) -> dict[str, Json]:
        """Only what narrows."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None, ())}

    @classmethod
    def of_json(cls, value: Mapping[str, Json]) -> Filter:
        """What to_json gave."""
        known = {f.name for f in fields(cls)}
        given = {name: v for name, v in value.items() if name in known}
        return cls(**{**given, "ids": tuple(value.get("ids", ()))})

    def without_class(self) -> Filter:
        """The same for every error class: what the counts of the classes are taken from."""
        return Filter(**{**asdict(self), "error_class": ""})


def dead_letters(actor: Actor, asked: Filter, role: str = "viewer") -> QuerySet[Run]:
    """Those in folders where the actor has `role`, in no order."""
    rows = Run.objects.filter(folder_filter(actor, role, "flow__folder"), dead_at__isnull=False)
    if asked.error_class:
        rows = rows.filter(error_class=asked.error_class)
    if asked.flow:
        rows = rows.filter(flow__slug=asked.flow)
    if asked.folder:
        rows = rows.filter(Q(flow__folder=asked.folder) | Q(flow__folder__startswith=f"{asked.folder}/"))
    if asked.since is not None:
        rows = rows.filter(dead_at__gte=asked.since)
    if asked.until is not None:
        rows = rows.filter(dead_at__lt=asked.until)
    if asked.ids:
        rows = rows.filter(pk__in=asked.ids)
    return words.matching(rows, asked.q.replace("\0", "").strip()) if asked.q else rows


def page_of(rows: QuerySet[Run], *, cursor: str | None, limit: int) -> tuple[list[Run], str | None]:
    """The newest first, and the cursor of the next page. Raises BadInput `bad_cursor`."""
    if cursor:
        at, last = decode_cursor(cursor, float, str)
        rows = rows.filter(Q(dead_at__lt=at) | Q(dead_at=at, id__lt=last))
    rows = rows.select_related("flow", "release", "starter").defer("output", "release__source", "release__plan_json")
    found = list(rows.order_by("-dead_at", "-id")[: limit + 1])
    items = found[:limit]
    return items, encode_cursor(items[-1].dead_at, items[-1].pk) if len(found) > limit else None


def groups(rows: QuerySet[Run], by: str) -> list[dict[str, Json]]:
    """[{name, count, latest}] by `error_class` or `flow__slug`, the largest first."""
    found = rows.order_by().values_list(by).annotate(n=Count("pk"), latest=Max("dead_at")).order_by("-n", by)
    return [{"name": name, "count": n, "latest": latest} for name, n, latest in found[:MAX_GROUPS]]


def left_undone(run: Run) -> dict[str, list[str]]:
    """Of a run whose undoing was begun: {undone, not_undone, in_flight}, each step as people name it."""
    ending = run.control.get("ending") or {}
    names = ("undone", "not_undone", "in_flight")
    return {name: [_where(w) for w in ending.get(name, ())] for name in names} if _any(ending, names) else {}


def _any(ending: Mapping[str, Json], names: tuple[str, ...]) -> bool:
    return any(ending.get(name) for name in names)


def _where(one: Mapping[str, Json]) -> str:
    item = one.get("item")
    return str(one["step"]) if item is None or item < 0 else f"{one['step']}[{item}]"
