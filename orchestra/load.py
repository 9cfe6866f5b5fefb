"""The load as people and this host's supervisor see it. Every process imports this, so nothing of the API's."""

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

from orchestra.supervisor.scale import Signal, wanted
from resources import warnings
from resources.access import Actor, can, folders_for
from resources.errors import NotAllowed
from runs import load

#: seconds between two looks of the keeper
EVERY: Final = 1.0


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


def write(now: float) -> float:
    """A keeper's duty: tell the supervisor of this host, which knows no database. Gives when to look again."""
    seen = load.measure()
    path = Path(settings.LOAD_FILE)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"at": seen["at"], "queues": seen["queues"]}))
    temporary.replace(path)
    return now + EVERY
