"""Runners ask for jobs and hold them by leases; what nobody holds any more goes back in line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from resources.access import covers
from resources.errors import NotAllowed
from runs import clock, history
from runs.jobs import tokens, waits
from runs.jobs.models import Job, Runner, RunnerToken
from runs.models import Run, RunStatus

Json = Any
#: jobs looked at for one claim; those of paused runs, and those that others take meanwhile, are passed over
LOOK: Final = 50
#: expired leases seen to in one turn of the keeper
BATCH: Final = 100
HELD: Final = (RunStatus.PAUSED, RunStatus.PAUSING)
#: the keeper's condition
WHEN: Final = "EXISTS (SELECT 1 FROM runs_job WHERE state = 'claimed' AND lease_until < %(now)s)"


def present_runner(*, token: RunnerToken, name: str, labels: Sequence[str], address: str = "") -> Runner:
    """Note that this runner asks. Raises BadInput, NotAllowed `labels_not_allowed`."""
    tokens.check_name(name)
    wanted = tokens.check_labels(labels)
    beyond = sorted(set(wanted) - set(token.labels)) if token.labels else []
    if beyond:
        raise NotAllowed(
            f"This token is not for the labels {', '.join(beyond)}.", code="labels_not_allowed",
            hint=f"It is for {', '.join(token.labels)}.",
        )  # fmt: skip
    facts = {"labels": wanted, "address": address[:64], "seen_at": clock.now()}
    return Runner.objects.update_or_create(token=token, name=name, defaults=facts)[0]


def claim_job(*, runner: Runner) -> Job | None:
    """The next job in line for what this runner has, now its own for a lease; None: there is none.

    Raises NotAllowed where its token was revoked meanwhile.
    """
    for pk, run_id in _candidates(runner):
        job = _take(runner, pk, run_id)
        if job is not None:
            return job
    return None


def _candidates(runner: Runner) -> list[tuple[str, str]]:
    """(job, run) in their order, unlocked."""
    queued = Job.objects.filter(state=Job.State.QUEUED)
    has = set(runner.labels)
    keys = [key for key in queued.values_list("label_key", flat=True).distinct() if has >= set(key.split())]
    if not keys:
        return []
    rows = queued.filter(label_key__in=keys).exclude(run__status__in=HELD).order_by("-priority", "created_at", "pk")
    if runner.token.folder:
        below = rows.filter(folder__startswith=f"{runner.token.folder}/")
        rows = rows.filter(folder=runner.token.folder) | below
    return list(rows.values_list("pk", "run_id")[:LOOK])


@transaction.atomic
def _take(runner: Runner, pk: str, run_id: str) -> Job | None:
    """None: somebody was faster, or the run is paused by now."""
    run = (
        Run.objects.select_for_update(skip_locked=True, of=("self",)).filter(pk=run_id).exclude(status__in=HELD).first()
    )
    job = Job.objects.select_for_update().filter(pk=pk, state=Job.State.QUEUED).first() if run is not None else None
    if job is None or not covers(runner.token.folder, job.folder):
        return None
    alive = RunnerToken.objects.filter(pk=runner.token_id, revoked_at=None)
    if not alive.exists():
        raise NotAllowed("The token of this runner was revoked.", code="token_revoked")
    now = clock.now()
    job.state, job.runner, job.fence = Job.State.CLAIMED, runner, job.fence + 1
    job.claimed_at, job.lease_until, job.progress = now, now + job.lease, None
    job.save(update_fields=["state", "runner", "fence", "claimed_at", "lease_until", "progress"])
    data = {"runner": runner.name, "fence": job.fence}
    history.append(job.run_id, "job.claimed", step=job.step, item=job.item, actor=runner.name, data=data)
    return job


# -- leases that are over ----------------------------------------------------------------------------------------
def expire(now: float) -> float | None:
    """The keeper's duty."""
    over = Job.objects.filter(state=Job.State.CLAIMED, lease_until__lt=now).order_by("lease_until")
    found = list(over.values_list("pk", "run_id")[:BATCH])
    for pk, run_id in found:
        _requeue(pk, run_id, now)
    return now if len(found) == BATCH else None


@transaction.atomic
def _requeue(pk: str, run_id: str, now: float) -> None:
    """Back in line, or lost for good."""
    run = Run.objects.select_for_update(of=("self",)).get(pk=run_id)
    rows = Job.objects.select_for_update(of=("self",)).select_related("runner")
    job = rows.filter(pk=pk, state=Job.State.CLAIMED, lease_until__lt=now).first()
    if job is None:
        return
    name = job.runner.name if job.runner is not None else "that is gone"
    if job.cancelled_at is None and job.takeovers < job.max_takeovers:
        job.state, job.lease_until, job.takeovers = Job.State.QUEUED, None, job.takeovers + 1
        job.save(update_fields=["state", "lease_until", "takeovers"])
    else:
        times = job.takeovers + 1
        said = f"The runner {name} said nothing for {job.lease:g} s; {times} runner{'s' * (times > 1)} lost this job."
        waits.end(job, run, Job.State.LOST, {"error": {"class": "lost", "message": said}, "lost": True}, now)
    data = {"runner": name, "state": job.state, "takeovers": job.takeovers}
    history.append(run_id, "job.lost", step=job.step, item=job.item, data=data)


def beat(job: Job, fence: int, now: float, changes: dict[str, Json]) -> bool:
    """The holder is there: its lease begins anew. False: it is no holder any more."""
    held = Job.objects.filter(pk=job.pk, state=Job.State.CLAIMED, fence=fence)
    field: Any = Job._meta.get_field("progress")
    if "progress" in changes:
        changes = {**changes, "progress": field.of_row(changes["progress"], job.pk)}
    if not held.update(lease_until=now + F("lease"), **changes):
        return False
    Runner.objects.filter(jobs=job.pk).update(seen_at=now)
    return True
