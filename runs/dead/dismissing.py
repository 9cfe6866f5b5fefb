"""A dead letter that nobody will go on with: it leaves the list, the run stays as it is."""

from __future__ import annotations

from django.db import transaction

from resources import audit
from resources.access import Actor, folder_filter, require
from resources.errors import BadInput, Conflict, NotFound, OrchestraError
from resources.models import Role
from runs import history
from runs.bulk import Result
from runs.dead.letters import MAX_IDS
from runs.models import Run

MAX_REASON = 500


def check_reason(reason: str) -> str:
    """Without blanks around. Raises BadInput `bad_reason` for none, or one that is too long."""
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise BadInput(f"Say why, in at most {MAX_REASON} characters.", code="bad_reason")
    return reason


def lock_letter(run_id: str) -> Run:
    """The run, locked for the rest of the caller's transaction. Raises NotFound; Conflict `not_dead`."""
    run = Run.objects.select_for_update(of=("self",)).select_related("flow").filter(pk=run_id).first()
    if run is None:
        raise NotFound("There is no such run.", code="run_not_found")
    if run.dead_at is None:
        said = "The run is no dead letter: it did not give up, goes on again, or was dismissed."
        raise Conflict(said, code="not_dead")
    return run


@transaction.atomic
def dismiss_run(*, actor: Actor, run_id: str, reason: str) -> Run:
    """Take a dead letter off the list, with a reason. The run can still be retried and replayed.

    Raises NotFound, NotAllowed, BadInput `bad_reason`, Conflict `not_dead`.
    """
    reason = check_reason(reason)
    seen = Run.objects.filter(folder_filter(actor, Role.VIEWER, "flow__folder"), pk=run_id)
    folder = seen.values_list("flow__folder", flat=True).first()
    if folder is None:
        raise NotFound("There is no such run.", code="run_not_found")
    require(actor, Role.OPERATOR, folder)
    run = lock_letter(run_id)
    put_away(run, actor, reason)
    audit.record(actor=actor, action="run.dismissed", object_type="run", object_id=run_id, data={"reason": reason})
    return run


def put_away(run: Run, actor: Actor, reason: str) -> None:
    """Off the list, in the transaction that locked the run."""
    run.dead_at = None
    run.save(update_fields=["dead_at"])
    history.append(run.pk, "run.dismissed", actor=actor.name, data={"reason": reason})


def dismiss_runs(*, actor: Actor, ids: list[str], reason: str) -> list[Result]:
    """Each in a transaction of its own, each with its own result. Raises BadInput `too_many` | `bad_reason`."""
    check_reason(reason)
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MAX_IDS:
        raise BadInput(f"{len(wanted)} runs at once are too many; {MAX_IDS} are allowed.", code="too_many")
    return [_one(actor, run_id, reason) for run_id in wanted]


def _one(actor: Actor, run_id: str, reason: str) -> Result:
    try:
        run = dismiss_run(actor=actor, run_id=run_id, reason=reason)
    except OrchestraError as error:
        return Result(run_id, False, code=error.stable_code, message=error.message)
    return Result(run_id, True, status=run.status)
