"""Notices and records of deliveries that are old are deleted, in batches."""

from __future__ import annotations

from django.db.models import QuerySet

from resources.models import Notice, NoticeDelivery, NoticeDigest
from resources.notices.inbox import DAYS

_BATCH = 1000
_EVERY = 3600.0


def turn(now: float) -> float:
    """The keeper's duty; gives when it is due next."""
    limit = now - DAYS * 86_400
    more = [
        _some(Notice.objects.filter(at__lt=limit)),
        _some(NoticeDelivery.objects.filter(at__lt=limit).exclude(status="waiting")),
        _some(NoticeDigest.objects.filter(ended_at__lt=limit)),
    ]
    return now + (1.0 if any(more) else _EVERY)


def _some(rows: QuerySet[Notice] | QuerySet[NoticeDelivery] | QuerySet[NoticeDigest]) -> bool:
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH])
    rows.model._default_manager.filter(pk__in=ids).delete()
    return len(ids) == _BATCH
