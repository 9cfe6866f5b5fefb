"""Jobs and the waits of their steps: a job is made by the wait that opens, in its transaction, and ends with it.

Whoever ends a job leaves the result in its row and puts the step on the queue; the worker that takes it reads it there.
Lock order: the run, then the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from runs import bell, columns
from runs.engine import doubt
from runs.engine import turn as cmd
from runs.jobs.models import Job
from runs.models import Run, WaitToken
from runs.queue_rows import Line, traits
from runs.races import Stale

if TYPE_CHECKING:
    from runs.store import Loaded

Json = Any
KIND: Final = "job"
#: of a wait's spec: what a runner is given
_GIVEN: Final = ("input", "command", "env", "files", "key", "schema")


def begin(loaded: Loaded, row: WaitToken, c: cmd.OpenWait, now: float) -> None:
    """Put the job of a wait that opens in line."""
    step, plan = loaded.state.step(c.step, c.item), loaded.plan.step(c.step)
    # a takeover is a repeat whose predecessor may have acted: where that needs a question first, the core asks it
    once = plan.already_done is not None or not doubt.may_repeat(plan, step, repeatable=False)
    labels = sorted(set(c.spec["labels"]))
    Job.objects.create(
        token=row.token,
        attempt=step.attempt,
        run_id=row.run_id,
        step=c.step,
        item=c.item,
        folder=loaded.folder,
        labels=labels,
        label_key=" ".join(labels),
        priority=traits(loaded.plan, c.step, loaded.priority)[1],
        spec={key: c.spec[key] for key in _GIVEN},
        lease=c.spec["lease"],
        max_takeovers=0 if once else c.spec["max_takeovers"],
        created_at=now,
    )


def let_go(token: str, attempt: int, reason: str, now: float) -> None:
    """The wait ends. Nobody waits for the job any more: its runner learns it at its next heartbeat.

    Raises Stale where the job ended in time.
    """
    if reason == "answered":
        return
    job = Job.objects.select_for_update().filter(token=token, attempt=attempt).first()
    if job is None or job.state == Job.State.CANCELLED:
        return
    if job.ended:
        if reason == "expired":
            raise Stale
        return
    job.cancelled_at = now
    if job.state == Job.State.QUEUED:
        job.state, job.ended_at = Job.State.CANCELLED, now
    job.save(update_fields=["cancelled_at", "state", "ended_at"])


def answer_of(token: str, attempt: int) -> Mapping[str, Json] | None:
    """{"payload": what the core is told} once the job has ended, else None."""
    job = Job.objects.filter(token=token, attempt=attempt, result__isnull=False).only("result").first()
    return None if job is None else {"payload": job.result}


def end(job: Job, run: Run, state: str, result: Json, now: float) -> None:
    """It has ended: kept, and its step is looked at (once its run is resumed). Run and job are locked."""
    from runs import store, waits

    job.state, job.ended_at, job.lease_until = state, now, None
    fields = ["state", "ended_at", "lease_until", "said", "log", "result"]
    if job.cancelled_at is not None:
        job.state = Job.State.CANCELLED
        job.save(update_fields=fields)
        return
    job.result = result
    job.save(update_fields=fields)
    line = Line(run.flow_id, run.priority, now)
    plan, held = store.plan_of(run.release_id), run.control.get("paused") is not None
    waits.wake(plan, run.pk, job.step, job.item, now, held=held, line=line)
    bell.ring_on_commit(bell.WORK)


_SHOW = "UPDATE runs_steprun SET live = %s WHERE run_id = %s AND step = %s AND item = %s AND attempt = %s"


def show(job: Job, tail: str | None = None) -> None:
    """What the job says now, for the run page; `tail`: text that came. Display only."""
    with connection.cursor() as cursor:
        place: list[Any] = [job.run_id, job.step, job.item]
        where = [*place, job.attempt]
        cursor.execute(
            "SELECT live FROM runs_steprun WHERE run_id = %s AND step = %s AND item = %s AND attempt = %s", where
        )
        row = cursor.fetchone()
        if row is None:
            return
        live = columns.LIVE.load(row[0], *place) if row[0] else {}
        live = live if live.get("job") == job.pk else {"attempt": job.attempt, "job": job.pk}
        if tail is not None:
            live["tail"] = (live.get("tail", "") + tail)[-MAX_TAIL:].replace("\0", "")
        if job.progress is not None:
            live["progress"] = job.progress
        cursor.execute(_SHOW, [columns.LIVE.dump(live, *place), *where])


#: characters of what a job says now, on the page
MAX_TAIL: Final = 8 * 1024
