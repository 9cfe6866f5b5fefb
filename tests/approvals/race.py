"""A program for test_races: several people decide in the same instant, against the migrated database of
DATABASE_URL.

Prints JSON: {"outcomes": […], "delivered": n, "status", "events"}. Run as `python -m tests.approvals.race NAME…`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestra.settings")

import django

django.setup()

from django.db import connection  # noqa: E402  needs the apps

from tests.approvals.conftest import Delivery, World, build_world, digest  # noqa: E402  needs the apps

delivered: list[str] = []


def deliver(**answer: Any) -> Delivery:
    delivered.append(answer["payload"]["decision"])
    return Delivery()


def vote(world: World, name: str, request_id: str, start: threading.Barrier, outcomes: list[str]) -> None:
    from approvals.actions import decide_request
    from resources.errors import OrchestraError

    verdict, _, person = name.partition(":")
    actor = world.actor(person)
    start.wait()
    try:
        done = decide_request(actor=actor, request_id=request_id, verdict=verdict, digest=digest(), comment="because")
        outcomes.append(done.status)
    except OrchestraError as error:
        outcomes.append(error.stable_code)
    finally:
        connection.close()


def main(quorum: int, voters: list[str]) -> None:
    from approvals import actions
    from runs.models import RunEvent

    setattr(actions, "deliver", deliver)  # noqa: B010  the engine is not part of this race
    world = build_world()
    request = world.ask(reviewers={"quorum": quorum})
    outcomes: list[str] = []
    start = threading.Barrier(len(voters))
    threads = [threading.Thread(target=vote, args=(world, v, request.pk, start, outcomes)) for v in voters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    request.refresh_from_db()
    decided = RunEvent.objects.filter(type="approval.decided").count()
    print(
        json.dumps({"outcomes": sorted(outcomes), "delivered": delivered, "status": request.status, "events": decided})
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
