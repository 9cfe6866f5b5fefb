"""What the holder of a job says: it goes on, and how it ended. A job is ended once; a repeat gets the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction

from flows.definition.inputs import JsonError, check_json, validate_input
from flows.steps.base import ERROR_CLASSES
from resources.access import covers
from resources.backends.errors import Unreachable
from resources.errors import BadInput, Conflict, Gone, NotFound
from runs import clock, history, store
from runs.jobs import claims, logs, masks, waits
from runs.jobs.models import Job, RunnerToken
from runs.large import storable
from runs.models import Run

Json = Any
MAX_MESSAGE: Final = 2000
MAX_PROGRESS: Final = 200
#: error classes that a runner may end a job with
CLASSES: Final = (
    "exit", "timeout", "cancelled", "code", "input", "limit", "contract", "network", "connect", "refused", "internal",
)  # fmt: skip


def held_job(token: RunnerToken, job_id: str) -> Job:
    """A job that a runner of this token took last. Raises NotFound, Conflict where another did since."""
    rows = Job.objects.select_related("runner").filter(pk=job_id, runner__isnull=False)
    job = rows.first() if "\0" not in job_id else None
    if job is None or job.runner is None or not covers(token.folder, job.folder):
        raise NotFound("No runner of this token took such a job.", code="unknown_job")
    if job.runner.token_id != token.pk:
        raise _taken_over(job)
    job.runner.token = token  # it knows its plain text, which nothing that is kept may hold
    return job


def _taken_over(job: Job) -> Conflict:
    return Conflict(
        "Another claim has taken this job over.", code="old_fence",
        hint="Stop the work, and keep nothing of it.", details={"fence": job.fence},
    )  # fmt: skip


def not_held(job: Job, fence: int) -> Conflict | Gone:
    """Why who comes with `fence` may say no more of this job."""
    if fence != job.fence:
        return _taken_over(job)
    said = "This job went back in line." if job.state == Job.State.QUEUED else f"This job is {job.state}."
    return Gone(said, code="job_gone", hint="Stop the work, and keep nothing of it.", details={"state": job.state})


def heartbeat(*, token: RunnerToken, job_id: str, fence: int, message: str = "", percent: float | None = None) -> bool:
    """The lease begins anew. True: nobody waits for the job any more: stop it, and say so by `fail_job`.

    Raises NotFound, Conflict `old_fence`, Gone `job_gone`.
    """
    job, now, changes = held_job(token, job_id), clock.now(), dict[str, Json]()
    message = _masked(job, message)
    if message or percent is not None:
        job.progress = {"message": message[:MAX_PROGRESS], "at": now}
        if percent is not None:
            job.progress["percent"] = round(percent, 1)
        changes["progress"] = job.progress
    if not claims.beat(job, fence, now, changes):
        job.refresh_from_db()
        raise not_held(job, fence)
    if changes:
        waits.show(job)
    return bool(job.cancelled_at is not None)


def complete_job(*, token: RunnerToken, job_id: str, fence: int, output: Json) -> dict[str, Json]:
    """It is done. Gives {state}. Raises NotFound, Conflict, Gone, and BadInput `output_schema` for an output that does
    not fit, which leaves the job as it is."""
    job = held_job(token, job_id)
    if job.said is None:
        _check_output(job.spec.get("schema"), output)
    masker = masks.masker_of(job)
    kept, _ = logs.seal(job, masker) if job.said is None and job.fence == fence else (None, 0)
    output = masker.tree(output)
    told = {"result": output, "artifacts": job.artifacts, "log": kept, "runner": _name(job)}
    value, _ = storable(told, job.run_id, job.step, job.folder)
    return _end(job, fence, Job.State.DONE, {"output": value}, kept)


def fail_job(
    *, token: RunnerToken, job_id: str, fence: int, cls: str, message: str, retry: bool | None = None
) -> dict[str, Json]:
    """It failed. `retry`: may another attempt help? None: as the error class says, or the step's `retry.on`.

    Gives {state}. Raises NotFound, Conflict, Gone, BadInput.
    """
    if cls not in CLASSES:
        raise BadInput(f"A runner fails a job with one of: {', '.join(CLASSES)}.", code="bad_class")
    job = held_job(token, job_id)
    masker = masks.masker_of(job)
    kept, _ = logs.seal(job, masker) if job.said is None and job.fence == fence else (None, 0)
    message = masker.text(message)
    details = {"runner": _name(job), "log": kept, "artifacts": job.artifacts, "takeovers": job.takeovers}
    error = {"class": cls, "message": message[:MAX_MESSAGE] or f"The runner ended it as {cls}.", "details": details}
    result = {"error": error, "retry": _may_retry(job, cls) if retry is None else retry}
    state = Job.State.CANCELLED if cls == "cancelled" and job.cancelled_at is not None else Job.State.FAILED
    return _end(job, fence, state, result, kept)


def _masked(job: Job, message: str) -> str:
    """Nothing where a secret's value cannot be had now: a sign of life counts without its words, too."""
    try:
        return masks.masker_of(job).text(message) if message else ""
    except Unreachable:
        return ""


def _name(job: Job) -> str:
    return job.runner.name if job.runner is not None else ""


def _may_retry(job: Job, cls: str) -> bool:
    release = Run.objects.values_list("release_id", flat=True).get(pk=job.run_id)
    return ERROR_CLASSES[cls] or cls in store.plan_of(release).step(job.step).retry.on


def _check_output(schema: Mapping[str, Json] | None, output: Json) -> None:
    try:
        check_json(output)
        problems = validate_input(schema, output) if schema is not None else []
    except JsonError as error:
        raise BadInput(f"The output cannot be used: {error}", code="output_schema") from error
    if problems:
        raise BadInput("The output breaks the schema of the job.", code="output_schema", details=problems)


@transaction.atomic
def _end(job: Job, fence: int, state: str, result: Json, log: Json) -> dict[str, Json]:
    """Once, under the locks of its run and itself."""
    run = Run.objects.select_for_update(of=("self",)).get(pk=job.run_id)
    job = Job.objects.select_for_update(of=("self",)).select_related("runner").get(pk=job.pk)
    if job.said is not None and job.said["fence"] == fence:
        return {"state": job.state, "duplicate": True}
    if job.state != Job.State.CLAIMED or job.fence != fence:
        raise not_held(job, fence)
    job.said, job.log = {"fence": fence}, log
    waits.end(job, run, state, result, clock.now())
    data = {"runner": _name(job), "state": job.state}
    history.append(run.pk, "job.ended", step=job.step, item=job.item, actor=_name(job), data=data)
    return {"state": job.state, "duplicate": False}
