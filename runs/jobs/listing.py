"""Jobs and runners for people: who asks, what is in line, and what nobody asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from django.db.models import QuerySet

from resources.access import Actor, covers, folder_filter, require_some_role
from runs.jobs.models import Job, Runner, RunnerToken

Json = Any
#: seconds after which a runner that was not heard of counts as away: it asks every 30 s at the latest
AWAY: Final = 60.0
MAX_SHOWN: Final = 200


def runners(actor: Actor) -> list[Runner]:
    """Those whose token is good and of a folder that `actor` views, the last seen first; MAX_SHOWN at most."""
    require_some_role(actor)
    rows = Runner.objects.filter(folder_filter(actor, "viewer", "token__folder"), token__revoked_at=None)
    return list(rows.select_related("token").order_by("-seen_at")[:MAX_SHOWN])


def runner_tokens(actor: Actor) -> list[RunnerToken]:
    """Of folders that `actor` administers, the newest first; revoked ones not."""
    rows = RunnerToken.objects.filter(folder_filter(actor, "admin"), revoked_at=None)
    return list(rows.select_related("created_by").order_by("-created_at")[:MAX_SHOWN])


def jobs(actor: Actor) -> QuerySet[Job]:
    """Of flows that `actor` views."""
    rows = Job.objects.filter(folder_filter(actor, "viewer"))
    return rows.select_related("runner", "run__flow").defer("spec", "result", "run__input", "run__output")


def nobody_has(waiting: Collection[Job], now: float) -> set[str]:
    """Ids of those that no runner with their labels has asked for lately."""
    if not waiting:
        return set()
    awake = Runner.objects.filter(seen_at__gt=now - AWAY, token__revoked_at=None).select_related("token")
    known = [(set(runner.labels), runner.token.folder) for runner in awake]
    return {job.pk for job in waiting if not _one_has(known, job)}


def _one_has(known: Iterable[tuple[set[str], str]], job: Job) -> bool:
    return any(has >= set(job.labels) and covers(folder, job.folder) for has, folder in known)


def held(run_ids: Collection[str], now: float) -> list[tuple[Job, str]]:
    """(job, what it waits for in words) of queued jobs of these runs."""
    rows = Job.objects.filter(run_id__in=run_ids, state=Job.State.QUEUED).defer("spec").order_by("item")
    found = list(rows[:1000])
    lonely = nobody_has(found, now)
    said = {True: "no runner with labels", False: "runners that are busy, with labels"}
    return [(job, f"{said[job.pk in lonely]} {', '.join(job.labels)}") for job in found]


def at_work(actor: Actor, now: float) -> list[dict[str, Json]]:
    """[{runner, away, jobs}] for the page."""
    found = runners(actor)
    held = list(Job.objects.filter(runner__in=found, state=Job.State.CLAIMED).defer("spec", "result"))
    return [
        {"runner": one, "away": one.seen_at < now - AWAY, "jobs": [job for job in held if job.runner_id == one.pk]}
        for one in found
    ]


def lines(actor: Actor, now: float) -> list[dict[str, Json]]:
    """[{labels, jobs, alone}] of what is in line, by labels; the first thousand jobs."""
    queued = list(jobs(actor).filter(state=Job.State.QUEUED).order_by("-priority", "created_at")[:1000])
    lonely = nobody_has(queued, now)
    found: dict[str, dict[str, Json]] = {}
    for job in queued:
        line = found.setdefault(job.label_key, {"labels": ", ".join(job.labels), "jobs": 0, "alone": False})
        line["jobs"] += 1
        line["alone"] |= job.pk in lonely
    return list(found.values())
