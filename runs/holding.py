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
from resources.payloads import Column
from runs import columns
from runs.models import ENDED, Run, RunStatus

#: resources of one large output that are looked for
MOST_NAMED: Final = 1000
OPEN: Final = [status.value for status in RunStatus if status not in ENDED]
_MARKS: Final = ", ".join(["%s"] * len(OPEN))
_COLUMNS: Final = (
    columns.INPUT, columns.TRIGGER, columns.OUTPUT, columns.ERROR, columns.CONTROL, columns.STATE, columns.STEP_OUTPUT,
    columns.LIVE, columns.DATA, columns.ANSWER, columns.RESPONSE,
)  # fmt: skip


def _texts_of(column: Column) -> holding.Texts:
    join = "" if column.table == "runs_run" else f'JOIN "{column.table}" t ON t.run_id = r.id'
    source = "t" if join else "r"
    text, row = f'{source}."{column.name}"', ", ".join(f"{source}.{name}" for name in column.row)
    sql = (
        f"SELECT 'the run ' || r.id, {text}, {row} FROM runs_run r {join} "  # noqa: S608  our own names
        f"WHERE (r.status IN ({_MARKS}) OR r.dead_at IS NOT NULL) AND {holding.naming(text)}"
    )
    return holding.Texts(sql, [*OPEN, *holding.NAMING], column)


def by_runs(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    origins = dict(Artifact.objects.filter(pk__in=ids).exclude(run_id="").values_list("pk", "run_id"))
    users = list(ResourceUse.objects.filter(artifact__in=ids).values_list("artifact", "run_id"))
    wanted = {*origins.values(), *(run for _, run in users)}
    rows = Run.objects.filter(pk__in=wanted).values_list("pk", "status", "dead_at")
    alive = {pk for pk, status, dead_at in rows if status in OPEN or dead_at is not None}
    found = {pk: f"the run {run}" for pk, run in [*origins.items(), *users] if run in alive}
    left = [one for one in ids if one not in found]
    return found | (holding.named_in(map(_texts_of, _COLUMNS), left) if left else {})


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
