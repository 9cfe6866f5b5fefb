"""Compiled plans by release, kept in memory: a release never changes, so nothing here can grow stale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db import connection

from flows.definition.plan import Plan
from flows.models import Release


@dataclass(frozen=True, slots=True)
class Live:
    """The release that new runs of a flow get."""

    flow_id: int
    slug: str
    folder: str
    release_id: int
    plan: Plan


@lru_cache(maxsize=256)
def _plan(release_id: int, checksum: str) -> Plan:
    # the checksum is part of the key: a restored or emptied database may use an id again
    return Release.objects.only("plan_json").get(pk=release_id).plan


def plan_of(release_id: int, checksum: str) -> Plan:
    """The plan of a release. Raises Release.DoesNotExist."""
    return _plan(release_id, checksum)


_LIVE = """
SELECT f.id, f.folder, f.live_id, r.checksum
  FROM flows_flow f JOIN flows_release r ON r.id = f.live_id WHERE f.slug = %s
"""


def live_plan(slug: str) -> Live | None:
    """One query by an index. None: no such flow, or nothing is live."""
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, [slug])
        row = cursor.fetchone()
    if row is None:
        return None
    flow_id, folder, release_id, checksum = row
    return Live(flow_id, slug, folder, release_id, _plan(release_id, checksum))
