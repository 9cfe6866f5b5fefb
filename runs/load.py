"""What waits for workers, by queue, and who serves it. Reads only.

Each cluster's watcher keeps a row of WorkCluster; one that was not seen for a while counts no more.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.db import connection

from runs import clock
from runs.models import WorkCluster

#: seconds between two notes of a watcher
BEAT: Final = 5.0
#: seconds after which a cluster that was not seen is taken for gone
GONE: Final = 30.0
#: seconds after which its row is deleted
FORGOTTEN: Final = 3600.0

_BY_QUEUE = """
SELECT queue, sum(CASE WHEN wake_at <= %s THEN 1 ELSE 0 END), min(CASE WHEN wake_at <= %s THEN wake_at END),
       sum(CASE WHEN owner <> '' AND wake_at > %s THEN 1 ELSE 0 END)
  FROM runs_work WHERE wake_at IS NOT NULL GROUP BY queue
"""


def measure() -> dict[str, Any]:
    """{at, queues: [{name, ready, oldest_age, running, workers}], clusters: [WorkCluster]}.

    `oldest_age` in seconds. A queue is listed where something is in it or somebody serves it.
    """
    now = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(_BY_QUEUE, [now, now, now])
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    clusters = list(WorkCluster.objects.filter(seen_at__gt=now - GONE).order_by("name"))
    names = sorted({*found, *(name for c in clusters for name in c.queue_names)})
    return {"at": now, "queues": [_queue(n, found.get(n), clusters, now) for n in names], "clusters": clusters}


def _queue(name: str, row: Any, clusters: list[WorkCluster], now: float) -> dict[str, Any]:
    ready, oldest, running = row or (0, None, 0)
    return {
        "name": name,
        "ready": int(ready),
        "oldest_age": round(max(0.0, now - oldest), 3) if oldest is not None else 0.0,
        "running": int(running),
        "workers": sum(c.workers for c in clusters if name in c.queue_names),
    }


def note(name: str, host: str, workers: int, idle: int) -> None:
    """A watcher says that its cluster is there."""
    now = clock.now()
    seen = {"host": host, "queues": ",".join(settings.QUEUES), "workers": workers, "idle": idle, "seen_at": now}
    WorkCluster.objects.update_or_create(name=name, defaults=seen)
    WorkCluster.objects.filter(seen_at__lt=now - FORGOTTEN).delete()


def leave(name: str) -> None:
    WorkCluster.objects.filter(name=name).delete()
