"""Rows -> the home page: what needs this person, the queue, the last 24 hours. A fixed number of queries."""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

from django.db.models import Count, Min, Q

from approvals.inbox import inbox_of
from approvals.models import ApprovalRequest
from flows.models import Flow
from resources.access import Actor, can, folder_filter
from runs import charts, filters, looks, tallies
from runs.models import RunStatus, Work
from runs.sensitive.rows import of_runs

DAY, HOUR = 86400, 3600


def home_page(actor: Actor, now: float) -> dict[str, Any]:
    box = inbox_of(actor, now=now)
    failed = _failed(actor, now)
    return {
        "yours": [_waiting(entry) for entry in box.yours[:10]],
        "yours_more": max(0, len(box.yours) - 10),
        "failed": failed,
        "attention": len(box.yours) + len(failed),
        "queue": _queue(actor, now),
        "day": _day(actor, now),
        "flows": Flow.objects.filter(folder_filter(actor, "viewer")).exists(),
        "authors": can(actor, "author"),
        "now": now,
    }


def _waiting(entry: Any) -> dict[str, Any]:
    request = entry.request
    names = [d.person.get_full_name() or d.person.get_username() for d in entry.decisions if d.verdict == "approve"]
    return {
        "id": request.pk,
        "title": request.title,
        "irreversible": request.irreversible,
        "expires_at": request.expires_at,
        "approvals": len(entry.standing.approvals),
        "quorum": request.quorum,
        "flow": request.run.flow.slug if request.run else "",
        "approved_by": names,
    }


def _failed(actor: Actor, now: float) -> list[dict[str, Any]]:
    rows = filters.visible(actor).filter(status__in=filters.CHIPS["failed"], created_at__gte=now - DAY)
    rows = rows.select_related("flow", "release").only(
        "id", "status", "error", "ended_at", "parent_id", "release__checksum", "flow__slug", "flow__title"
    )
    found = list(rows.order_by("-created_at")[:8])
    veils = of_runs(found)
    return [
        {
            "id": r.id,
            "title": r.flow.title or r.flow.slug,
            "word": looks.of_run(r.status)[1],
            "error": veils[r.id].words(r.error or {}),
            "ended_at": r.ended_at,
        }
        for r in found
    ]


def _queue(actor: Actor, now: float) -> dict[str, Any]:
    """Depth: rows due and not leased. Oldest: seconds the first of them has waited. The queue is everybody's."""
    due = Q(wake_at__lte=now, owner__isnull=True)
    found = Work.objects.filter(Q(wake_at__isnull=False) | Q(held_at__isnull=False)).aggregate(
        depth=Count("pk", filter=due),
        oldest=Min("wake_at", filter=due),
        running=Count("pk", filter=Q(owner__isnull=False)),
        later=Count("pk", filter=Q(wake_at__gt=now, owner__isnull=True)),
        held=Count("pk", filter=Q(held_at__isnull=False)),
    )
    oldest = found["oldest"]
    return {**found, "waited": None if oldest is None else now - oldest}


def _day(actor: Actor, now: float) -> dict[str, Any]:
    start = now - DAY
    found = tallies.outcomes(tallies.since(filters.visible(actor), start, HOUR))
    good = [found.get((h, RunStatus.SUCCEEDED), 0) for h in range(24)]
    bad = [sum(found.get((h, s), 0) for s in filters.CHIPS["failed"]) for h in range(24)]
    rates = [g / (g + b) if g + b else None for g, b in zip(good, bad, strict=True)]
    total = sum(found.values())
    ended = sum(good) + sum(bad)
    per_hour = [sum(n for (hour, _), n in found.items() if hour == h) for h in range(24)]
    return {
        "total": total,
        "failed": sum(bad),
        "rate": None if not ended else f"{sum(good) / ended * 100:.1f}%".replace("100.0", "100"),
        "bars": charts.bars(per_hour),
        "most": max(per_hour),
        "line": charts.line(rates, top=1.0),
        **_decisions(actor, start),
    }


def _decisions(actor: Actor, start: float) -> dict[str, Any]:
    """Seconds from asking to deciding of the requests decided since `start`."""
    rows = ApprovalRequest.objects.filter(folder_filter(actor, "viewer"), closed_at__gte=start)
    rows = rows.filter(status__in=("approved", "rejected")).order_by("closed_at")
    times = rows.values_list("closed_at", "created_at")[:5000]
    spans = [(closed, max(0.0, closed - asked)) for closed, asked in times if closed is not None]
    took = [s for _, s in spans]
    hours: list[list[float]] = [[] for _ in range(24)]
    for closed, seconds in spans:
        hours[min(23, int((closed - start) // HOUR))].append(seconds)
    return {
        "decided": len(took),
        "median": median(took) if took else None,
        "p90": quantiles(took, n=10)[8] if len(took) > 1 else None,
        "decision_line": charts.line([median(h) if h else None for h in hours], top=max(took, default=1.0) or 1.0),
    }
