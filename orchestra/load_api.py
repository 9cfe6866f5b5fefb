"""The load as autoscalers see it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from orchestra.load import measure
from resources.api import actor_of, declared, iso

router = Router(tags=["system"])


class QueueOut(Schema):
    name: str
    ready: int = Field(description="Rows that a worker could take now.")
    oldest_age: float = Field(description="Seconds the oldest of them has waited.")
    running: int = Field(description="Rows that workers hold.")
    workers: int = Field(description="Workers that serve the queue.")
    wanted_workers: int = Field(description="How many would do now; bounds and cooldown are the autoscaler's.")


class ClusterOut(Schema):
    name: str
    host: str
    queues: list[str]
    workers: int
    idle: int
    seen_at: str


class LoadOut(Schema):
    at: str
    queues: list[QueueOut]
    clusters: list[ClusterOut]


@router.get("/system/load", response=declared((200, LoadOut)), operation_id="orchestra_load_get_load")
def get_load(request: HttpRequest) -> dict[str, Any]:
    """What waits for workers, by queue, and who serves it. For operators, and for autoscalers."""
    seen = measure(actor_of(request))
    clusters = [{**_cluster(c), "seen_at": iso(c.seen_at)} for c in seen["clusters"]]
    return {"at": iso(seen["at"]), "queues": seen["queues"], "clusters": clusters}


def _cluster(cluster: Any) -> dict[str, Any]:
    names = ("name", "host", "workers", "idle")
    return {**{name: getattr(cluster, name) for name in names}, "queues": cluster.queue_names}
