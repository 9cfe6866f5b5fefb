"""Which resources open runs hold: their own, those they read, and those whose address is anywhere in their state.

A dead letter counts as open: a person may send it on.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Final

from django.db import IntegrityError, transaction

from resources import artifacts, holding
from resources.errors import NotFound
from resources.models import Artifact, ResourceUse
from runs.models import ENDED, Run, RunStatus

#: resources of one large output that are looked for
MOST_NAMED: Final = 1000
OPEN: Final = [status.value for status in RunStatus if status not in ENDED]
_MARKS: Final = ", ".join(["%s"] * len(OPEN))
_TEXTS: Final = {
    "runs_run": ("input", "trigger", "output", "error", "control"),
    "runs_steprun": ("state", "output", "live"),
    "runs_runevent": ("data",),
    "runs_waittoken": ("answer", "response"),
}


def _statements() -> list[tuple[str, list[str]]]:
    found = []
    for table, columns in _TEXTS.items():
        join = "" if table == "runs_run" else f'JOIN "{table}" t ON t.run_id = r.id'
        source = "r" if table == "runs_run" else "t"
        for column in columns:
            text = f'{source}."{column}"'
            sql = (
                f"SELECT 'the run ' || r.id, {text} FROM runs_run r {join} "  # noqa: S608  our own names
                f"WHERE (r.status IN ({_MARKS}) OR r.dead_at IS NOT NULL) AND {text} LIKE %s"
            )
            found.append((sql, [*OPEN, "%res://%"]))
    return found


def by_runs(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    origins = dict(Artifact.objects.filter(pk__in=ids).exclude(run_id="").values_list("pk", "run_id"))
    users = list(ResourceUse.objects.filter(artifact__in=ids).values_list("artifact", "run_id"))
    wanted = {*origins.values(), *(run for _, run in users)}
    rows = Run.objects.filter(pk__in=wanted).values_list("pk", "status", "dead_at")
    alive = {pk for pk, status, dead_at in rows if status in OPEN or dead_at is not None}
    found = {pk: f"the run {run}" for pk, run in [*origins.items(), *users] if run in alive}
    left = [one for one in ids if one not in found]
    return found | (holding.named_in(_statements(), left) if left else {})


def use_named(text: str, run_id: str) -> None:
    """`run_id` keeps a text away where nobody looks for addresses: it holds the resources that are named in it."""
    known = Artifact.objects.filter(pk__in=sorted(holding.named(text))[:MOST_NAMED]).exclude(run_id=run_id)
    for artifact_id in known.values_list("pk", flat=True):
        with suppress(NotFound):  # it was deleted before this run came to name it
            use(artifact_id, run_id)


def use(artifact_id: str, run_id: str) -> None:
    """`run_id` reads the resource of another run and holds it from now on. Raises NotFound for a deleted one."""
    if ResourceUse.objects.filter(artifact=artifact_id, run_id=run_id).exists():
        return
    try:
        with transaction.atomic():
            # who condemns it holds this lock while looking for its users
            row = Artifact.objects.select_for_update().filter(pk=artifact_id).first()
            if row is None or not artifacts.there(row):
                raise NotFound("There is no such resource.", hint="It was deleted a moment ago.")
            ResourceUse.objects.bulk_create(
                [ResourceUse(artifact_id=artifact_id, run_id=run_id)], ignore_conflicts=True
            )
    except IntegrityError as error:
        raise NotFound("There is no such resource.", hint="It was deleted a moment ago.") from error
