"""What the list of runs is asked for, read from its address, and the query that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast

from resources.access import Actor, folder_filter
from resources.payloads import BOUND, NAMES_RESOURCE
from runs.models import ENDED, Run, RunStatus, WaitToken

PAGE = 25
RANGES = {"1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000}
#: chip -> statuses; "human" is told from "waiting" by an open approval
CHIPS: dict[str, tuple[str, ...]] = {
    "running": (RunStatus.RUNNING,),
    "human": (RunStatus.WAITING, RunStatus.RUNNING),
    "waiting": (RunStatus.WAITING,),
    "queued": (RunStatus.QUEUED,),
    "paused": (RunStatus.PAUSING, RunStatus.PAUSED),
    "failed": (RunStatus.FAILED, RunStatus.TIMED_OUT),
    "succeeded": (RunStatus.SUCCEEDED,),
    "compensating": (RunStatus.COMPENSATING,),
    "cancelled": (RunStatus.CANCELLED, RunStatus.CANCELLING),
    "degraded": tuple(RunStatus),  # whatever the status: a fallback stood in
}
TRIGGERS = {
    "manual": "Person",
    "webhook": "Webhook",
    "schedule": "Schedule",
    "event": "Event",
    "api": "API",
    "replay": "Replay",
    "fork": "Fork",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of one address. `until`: a refresh shows nothing newer; `before`: the page after this run.

    Only the API asks for an `exact` status, for `degraded`, for children of a `parent`, and for no range.
    """

    status: str = ""
    flow: str = ""
    trigger: str = ""
    q: str = ""
    range: str = "24h"
    before: str = ""
    until: str = ""
    exact: str = ""
    degraded: bool | None = None
    parent: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """Whatever is not known is ignored, so that an old link still shows a list."""
        given = {name: query.get(name, "").strip()[:100] for name in ("flow", "q", "before", "until")}
        return cls(
            status=_known(query.get("status", ""), CHIPS),
            trigger=_known(query.get("trigger", ""), TRIGGERS),
            range=_known(query.get("range", ""), RANGES) or "24h",
            flow=given["flow"],
            q=given["q"],
            before=given["before"],
            until=given["until"],
        )

    @property
    def narrowed(self) -> bool:
        return bool(self.status or self.flow or self.trigger or self.q)

    def link(self, **changes: str) -> str:
        """The query string of this list with something changed; always its first page unless `before` is given."""
        parts: dict[str, Any] = {
            "status": self.status,
            "flow": self.flow,
            "trigger": self.trigger,
            "q": self.q,
            "range": "" if self.range == "24h" else self.range,
            **changes,
        }
        text = urlencode({k: v for k, v in parts.items() if v})
        return f"?{text}" if text else "?"


def _known(value: str, known: Mapping[str, Any]) -> str:
    return value if value in known else ""


#: said as what they are: of what they are not, a database finds no index, and read every run there is
OPEN = tuple(status for status in RunStatus.values if status not in ENDED)


def visible(actor: Actor) -> QuerySet[Run]:
    """Runs of flows in folders the actor may view."""
    return Run.objects.filter(folder_filter(actor, "viewer", "flow__folder"))


def on_human() -> Exists:
    return Exists(WaitToken.objects.filter(run=OuterRef("pk"), kind="approval", status=WaitToken.Status.OPEN))


def in_scope(rows: QuerySet[Run], asked: Asked, now: float) -> QuerySet[Run]:
    """All filters but the status: what the chips count. Runs that have not ended are always in range."""
    rows = narrowed(rows, asked)
    return rows.filter(Q(created_at__gte=now - RANGES[asked.range]) | Q(status__in=OPEN)) if asked.range else rows


def narrowed(rows: QuerySet[Run], asked: Asked) -> QuerySet[Run]:
    """By flow, trigger and words."""
    if asked.flow:
        rows = rows.filter(flow__slug=asked.flow)
    if asked.trigger:
        rows = rows.annotate(trigger_text=Cast("trigger", TextField()))
        # of a sealed one, the kind is what can be read
        kind = Q(trigger_text__contains=f'"kind":"{asked.trigger}"')
        tags = (f":{asked.trigger}:", f":{asked.trigger}{NAMES_RESOURCE}:")
        tagged = Q(trigger_text__contains=tags[0]) | Q(trigger_text__contains=tags[1])
        rows = rows.filter(kind | Q(trigger_text__startswith=BOUND) & tagged)
    if asked.q:
        rows = rows.filter(
            Q(id__startswith=asked.q.lower()) | Q(flow__slug__icontains=asked.q) | Q(flow__title__icontains=asked.q)
        )
    return rows


def with_status(rows: QuerySet[Run], status: str) -> QuerySet[Run]:
    if not status:
        return rows
    rows = rows.filter(status__in=CHIPS[status])
    if status == "degraded":
        return rows.filter(degraded=True)
    if status == "human":
        return rows.filter(on_human())
    return rows.filter(~on_human()) if status == "waiting" else rows


def narrow(rows: QuerySet[Run], asked: Asked, now: float) -> QuerySet[Run]:
    """All filters but `before` and `until`."""
    exact = {"status": asked.exact, "parent_id": asked.parent}
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    rows = rows if asked.degraded is None else rows.filter(degraded=asked.degraded)
    return with_status(in_scope(rows, asked, now), asked.status)


def between(rows: QuerySet[Run], asked: Asked) -> QuerySet[Run]:
    rows = rows.filter(id__lt=asked.before) if asked.before else rows
    return rows.filter(id__lte=asked.until) if asked.until else rows


def matching(actor: Actor, asked: Asked, now: float, most: int) -> tuple[list[str], int]:
    """Ids of the newest runs that match, between `asked.before` and `asked.until`, and how many there are in all."""
    rows = between(narrow(visible(actor), asked, now), asked)
    return list(rows.order_by("-id").values_list("pk", flat=True)[:most]), rows.count()


def page_of(rows: QuerySet[Run], asked: Asked) -> list[Run]:
    """One row more than a page holds, newest first."""
    rows = between(rows, asked)
    rows = rows.select_related("flow", "release", "starter").defer("input", "output", "release__source")
    return list(rows.annotate(human=on_human()).order_by("-id")[: PAGE + 1])
