"""What open runs of releases that are no longer live still name. Registered with resources.usage.

A run keeps the release it began on, so what only an older release names is needed until its last run has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.db.models import F

from flows import bindings
from flows.definition import waiting
from flows.definition.bindings import Place, stands_for
from flows.definition.plan import Plan
from resources.usage import Use
from runs.loading import plan_of
from runs.models import Run


def using_connection(name: str) -> list[Use]:
    """Open live runs keep it; test runs do not, as tests of a live release do not."""
    names = bindings.reaching(name) | {name}
    bound = bindings.read(names=names)

    def named_by(plan: Plan, slug: str) -> bool:
        return any(stands_for(called, Place(slug), bound) == name for called in plan.connections & names)

    return [_use(*found) for found in _older(named_by)]


def using_secret(name: str) -> list[Use]:
    """Open runs keep the secret that a signed call of theirs is checked with."""
    return [_use(*found) for found in _older(lambda plan, slug: name in secrets_of(plan))]


def secrets_of(plan: Plan) -> frozenset[str]:
    """The secrets that its steps name: those of waits for signed calls. Pure."""
    waits = (waiting.callback_of(step.config) for step in plan.steps if step.family == waiting.FAMILY)
    named = (wait[1].get("secret") for wait in waits if wait is not None)
    return frozenset(name for name in named if isinstance(name, str) and name)


def _older(named_by: Callable[[Plan, str], bool]) -> Iterator[tuple[str, str]]:
    """(slug, version) of releases that are not live, have an open live run, and name it."""
    runs = Run.objects.filter(ended_at__isnull=True)
    gone = runs.exclude(release_id=F("flow__live_id")) | runs.filter(flow__live_id=None)
    rows = gone.values_list("release_id", "flow__slug", "release__version").distinct()
    for release, slug, version in rows.order_by("flow__slug", "release_id"):
        if named_by(plan_of(release), slug) and _has_live_run(release):
            yield slug, version


def _has_live_run(release: int) -> bool:
    runs = Run.objects.filter(ended_at__isnull=True, release_id=release).only("trigger")
    return any(not run.trigger.get("test") for run in runs.iterator(chunk_size=100))


def _use(slug: str, version: str) -> Use:
    return Use(f"open runs of flow {slug} {version}", f"/runs?flow={slug}")
