"""API v1: runners, their tokens and their jobs, for people."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status
from ninja.params.functions import Query

from resources.api import Input, Text, actor_of, declared, iso, moment, name_of
from resources.paging import DEFAULT_LIMIT, MAX_LIMIT
from runs import clock
from runs.jobs import listing, tokens
from runs.jobs.models import Job, Runner, RunnerToken

router = Router(tags=["runners"])
Json = Any


class RunnerOut(Schema):
    name: str
    labels: list[str]
    folder: str = Field(description="Of its token: it takes jobs of flows in it and below it.")
    token: str = Field(description="Name of its token.")
    address: str
    seen_at: str
    away: bool = Field(description="It was not heard of for a minute.")
    jobs: list[str] = Field(description="Ids of the jobs it holds.")


class RunnersOut(Schema):
    items: list[RunnerOut]


class JobRowOut(Schema):
    id: str
    run: str
    flow: str
    step: str
    item: int | None
    labels: list[str]
    state: Literal["queued", "claimed", "done", "failed", "cancelled", "lost"]
    runner: str | None
    takeovers: int
    no_runner: bool = Field(description="It waits, and no runner with its labels has asked for a minute.")
    created_at: str
    claimed_at: str | None
    ended_at: str | None


class JobsOut(Schema):
    items: list[JobRowOut]


class TokenOut(Schema):
    id: int
    name: str
    folder: str
    labels: list[str] = Field(description="All that its runners may have; empty: any.")
    prefix: str
    created_by: str | None
    created_at: str
    expires_at: str | None


class NewTokenOut(TokenOut):
    token: str = Field(description="Shown this once.")


class TokensOut(Schema):
    items: list[TokenOut]


class TokenIn(Input):
    name: Text = Field(max_length=100)
    folder: Text = Field("", max_length=200)
    labels: list[Text] = Field(default_factory=list, max_length=30)
    expires_at: Text | None = Field(None, max_length=40, description="RFC 3339; null: never.")


@router.get("/runners", response=declared((200, RunnersOut)))
def list_runners(request: HttpRequest) -> dict[str, Json]:
    """Who asks for jobs, the last heard of first."""
    found, now = listing.runners(actor_of(request)), clock.now()
    held = Job.objects.filter(runner__in=found, state=Job.State.CLAIMED).values_list("runner_id", "pk")
    return {"items": [_runner(one, [pk for who, pk in held if who == one.pk], now) for one in found]}


@router.get("/jobs", response=declared((200, JobsOut)))
def list_jobs(
    request: HttpRequest,
    run: str | None = Query(None, max_length=26),
    state: Literal["queued", "claimed", "done", "failed", "cancelled", "lost"] | None = None,
    limit: int = Query(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT),
) -> dict[str, Json]:
    """Jobs of flows you may view, the newest first."""
    rows = listing.jobs(actor_of(request))
    if run is not None:
        rows = rows.filter(run_id=run) if "\0" not in run else rows.none()
    if state is not None:
        rows = rows.filter(state=state)
    found = list(rows.order_by("-created_at")[:limit])
    lonely = listing.nobody_has([job for job in found if job.state == Job.State.QUEUED], clock.now())
    return {"items": [_job(job, job.pk in lonely) for job in found]}


@router.get("/runner-tokens", response=declared((200, TokensOut)))
def list_tokens(request: HttpRequest) -> dict[str, Json]:
    """Tokens of runners, of folders that you administer."""
    return {"items": [_token(token) for token in listing.runner_tokens(actor_of(request))]}


@router.post("/runner-tokens", response=declared((201, NewTokenOut)))
def create_token(request: HttpRequest, body: TokenIn) -> Status[dict[str, Json]]:
    """A token for runners. It opens their part of the API and nothing else. Admins of the folder."""
    expires = moment(body.expires_at, "/expires_at") if body.expires_at is not None else None
    token, plain = tokens.create_runner_token(
        actor=actor_of(request), name=body.name, folder=body.folder, labels=body.labels, expires_at=expires
    )
    return Status(201, {**_token(token), "token": plain})


@router.delete("/runner-tokens/{token_id}", response=declared((204, None)))
def revoke_token(request: HttpRequest, token_id: int) -> Status[None]:
    """End a token at once. What its runners hold goes to others when their leases end."""
    tokens.revoke_runner_token(actor=actor_of(request), token_id=token_id)
    return Status(204, None)


def _runner(runner: Runner, held: list[str], now: float) -> dict[str, Json]:
    return {
        "name": runner.name, "labels": runner.labels, "folder": runner.token.folder, "token": runner.token.name,
        "address": runner.address, "seen_at": iso(runner.seen_at), "away": runner.seen_at < now - listing.AWAY,
        "jobs": held,
    }  # fmt: skip


def _job(job: Job, no_runner: bool) -> dict[str, Json]:
    return {
        "id": job.pk, "run": job.run_id, "flow": job.run.flow.slug, "step": job.step,
        "item": None if job.item < 0 else job.item, "labels": job.labels, "state": job.state,
        "runner": job.runner.name if job.runner else None, "takeovers": job.takeovers, "no_runner": no_runner,
        "created_at": iso(job.created_at), "claimed_at": iso(job.claimed_at), "ended_at": iso(job.ended_at),
    }  # fmt: skip


def _token(token: RunnerToken) -> dict[str, Json]:
    return {
        "id": token.pk, "name": token.name, "folder": token.folder, "labels": token.labels, "prefix": token.prefix,
        "created_by": name_of(token.created_by), "created_at": iso(token.created_at),
        "expires_at": iso(token.expires_at),
    }  # fmt: skip
