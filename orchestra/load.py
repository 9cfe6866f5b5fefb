"""The load as people, autoscalers and this host's supervisor see it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from ninja import Field, Router, Schema

from orchestra.supervisor.scale import Signal, wanted
from resources import warnings
from resources.access import Actor, can, folders_for
from resources.api import actor_of, declared, iso
from resources.errors import NotAllowed
from runs import load

router = Router(tags=["system"])
#: seconds between two looks of the keeper
EVERY: Final = 1.0


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


@router.get("/system/load", response=declared((200, LoadOut)))
def get_load(request: HttpRequest) -> dict[str, Any]:
    """What waits for workers, by queue, and who serves it. For operators, and for autoscalers."""
    seen = measure(actor_of(request))
    clusters = [{**_cluster(c), "seen_at": iso(c.seen_at)} for c in seen["clusters"]]
    return {"at": iso(seen["at"]), "queues": seen["queues"], "clusters": clusters}


@require_safe
@login_required
@never_cache
def system(request: HttpRequest) -> HttpResponse:
    """The same for people."""
    live, actor = request.headers.get("HX-Target") == "system-live", Actor.of(request)
    page = {**measure(actor), "section": "system"}
    if not live and can(actor, "admin"):
        page["notices"] = warnings.notices(timezone.now())
    return render(request, "system/_live.html" if live else "system/system.html", page)


def operates(actor: Actor) -> bool:
    """Is the actor an operator or an admin anywhere?"""
    return folders_for(actor, "operator") != []


def measure(actor: Actor) -> dict[str, Any]:
    """runs.load.measure with the workers wanted. Raises NotAllowed."""
    if not operates(actor):
        raise NotAllowed("The load is for operators.", hint="It needs the role operator or admin on some folder.")
    seen = load.measure()
    for queue in seen["queues"]:
        signal = Signal(queue["oldest_age"], queue["ready"], queue["running"])
        queue["wanted_workers"] = wanted(queue["workers"], signal)
    return seen


def _cluster(cluster: Any) -> dict[str, Any]:
    names = ("name", "host", "workers", "idle")
    return {**{name: getattr(cluster, name) for name in names}, "queues": cluster.queue_names}


def write(now: float) -> float:
    """A keeper's duty: tell the supervisor of this host, which knows no database. Gives when to look again."""
    seen = load.measure()
    path = Path(settings.LOAD_FILE)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"at": seen["at"], "queues": seen["queues"]}))
    temporary.replace(path)
    return now + EVERY
