"""API v1 for runners, with tokens of their own: ask for a job, hold it, say how it ended. Nothing else."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from ninja import Field, Router, Schema
from ninja.params.functions import Query
from ninja.security import HttpBearer

from resources import artifacts, serve
from resources.api import Input, Text, declared
from resources.errors import NotSignedIn
from resources.proxies import address_of
from resources.resource_api import BYTES, RAW, pieces
from runs.incoming.replies import Later
from runs.jobs import claims, logs, reports, results, tokens
from runs.jobs.models import Job, Runner, RunnerToken
from runs.models import Run

Json = Any
MAX_WAIT = 30


class RunnerBearer(HttpBearer):
    """A runner's token. It opens this part only, and an API token does not open it."""

    def authenticate(self, request: HttpRequest, token: str) -> RunnerToken:
        found = tokens.authenticate(token)
        if found is None:
            raise NotSignedIn(
                "This token is no runner's, expired or revoked.", code="bad_token", hint="Make one on the page Runners."
            )
        return found


router = Router(tags=["for runners"], auth=RunnerBearer())


class ClaimIn(Input):
    name: Text = Field(max_length=100, description="Tells runners of one token apart.")
    labels: list[Text] = Field(max_length=30, description="What the runner has.")
    wait: int = Field(0, ge=0, le=MAX_WAIT, description="Seconds to wait for a job.")


class FileOut(Schema):
    name: str
    resource: str
    size: int
    sha256: str
    content_type: str


class JobOut(Schema):
    id: str
    fence: int = Field(description="Goes with everything said of this job.")
    run: str
    flow: str
    step: str
    item: int | None
    key: str = Field(description="Idempotency key: the same for every attempt of this step, and every runner.")
    labels: list[str]
    input: Any
    command: list[str] | None
    env: dict[str, str]
    files: list[FileOut]
    lease: float = Field(description="Seconds without a heartbeat after which another runner gets it.")
    takeovers: int
    log_size: int = Field(description="Where its log goes on.")


class ClaimOut(Schema):
    job: JobOut | None


class BeatIn(Input):
    fence: int = Field(ge=0, lt=2**31)
    message: Text = Field("", max_length=2000)
    percent: float | None = Field(None, ge=0, le=100)


class BeatOut(Schema):
    cancel: bool = Field(description="Nobody waits for it any more: stop, then fail it as `cancelled`.")


class CompleteIn(Input):
    fence: int = Field(ge=0, lt=2**31)
    output: Any = Field(None, description="Any JSON; `result` of the step's output.")


class FailIn(Input):
    fence: int = Field(ge=0, lt=2**31)
    class_: Literal[reports.CLASSES] = Field("exit", alias="class")  # type: ignore[valid-type]
    message: Text = Field("", max_length=10_000)
    retry: bool | None = Field(None, description="May another attempt help? null: as its class says.")


class EndedOut(Schema):
    state: str
    duplicate: bool = Field(description="It was ended before; that stands.")


class LogOut(Schema):
    size: int = Field(description="Where the next piece goes.")
    full: bool = Field(description="Nothing more is kept.")


class KeptOut(Schema):
    resource: str


@router.post("/runner/claim", response=declared((200, ClaimOut)))
def claim(request: HttpRequest, body: ClaimIn) -> HttpResponse:
    """The next job for these labels, or null once `wait` is over."""
    token: RunnerToken = request.auth  # type: ignore[attr-defined]
    runner = claims.present_runner(token=token, name=body.name, labels=body.labels, address=address_of(request))
    found = _claimed(runner)
    if found is not None or not body.wait:
        return found or JsonResponse({"job": None})
    answer = JsonResponse({"job": None})
    answer.later = Later(lambda: _claimed(runner), body.wait)  # type: ignore[attr-defined]
    return answer


@router.post("/runner/jobs/{job_id}/heartbeat", response=declared((200, BeatOut), errors=(409, 410)))
def heartbeat(request: HttpRequest, job_id: Text, body: BeatIn) -> dict[str, Json]:
    """The job is being done. 409 `old_fence`, 410 `job_gone`: it is not yours any more, stop."""
    told = reports.heartbeat(
        token=request.auth, job_id=job_id, fence=body.fence, message=body.message, percent=body.percent,  # type: ignore[attr-defined]
    )  # fmt: skip
    return {"cancel": told}


@router.post("/runner/jobs/{job_id}/logs", response=declared((200, LogOut), errors=(409, 410, 503)), openapi_extra=RAW)
def add_log(
    request: HttpRequest, job_id: Text, fence: int = Query(ge=0, lt=2**31), offset: int = Query(ge=0, le=2**62)
) -> dict[str, Json]:
    """The body is what it says from `offset` on, 256 KiB at most. A piece that is there already changes nothing."""
    job = reports.held_job(request.auth, job_id)  # type: ignore[attr-defined]
    return logs.append(job=job, fence=fence, offset=offset, data=request.body)


@router.get("/runner/jobs/{job_id}/files/{name}", response=declared(errors=(409, 410)), openapi_extra=BYTES)
def get_file(request: HttpRequest, job_id: Text, name: Text, fence: int = Query(ge=0, lt=2**31)) -> HttpResponseBase:
    """A file that the job names."""
    job = reports.held_job(request.auth, job_id)  # type: ignore[attr-defined]
    return serve.respond(request, results.file_of(job, fence, name))


@router.put(
    "/runner/jobs/{job_id}/artifacts/{name}", response=declared((200, KeptOut), errors=(409, 410, 503)),
    openapi_extra=RAW,
)  # fmt: skip
def put_artifact(request: HttpRequest, job_id: Text, name: Text, fence: int = Query(ge=0, lt=2**31)) -> dict[str, Json]:
    """The body becomes a resource of the run, `artifacts.<name>` of the step's output."""
    job = reports.held_job(request.auth, job_id)  # type: ignore[attr-defined]
    kind = request.headers.get("Content-Type", "")
    kept = results.keep_artifact(job=job, fence=fence, name=name, content_type=kind, chunks=pieces(request))
    return {"resource": kept["$res"]}


@router.post("/runner/jobs/{job_id}/complete", response=declared((200, EndedOut), errors=(409, 410, 503)))
def complete(request: HttpRequest, job_id: Text, body: CompleteIn) -> dict[str, Json]:
    """It is done. 422 `output_schema` leaves it as it is. A repeat gets the same answer."""
    return reports.complete_job(token=request.auth, job_id=job_id, fence=body.fence, output=body.output)  # type: ignore[attr-defined]


@router.post("/runner/jobs/{job_id}/fail", response=declared((200, EndedOut), errors=(409, 410, 503)))
def fail(request: HttpRequest, job_id: Text, body: FailIn) -> dict[str, Json]:
    """It failed, or was stopped. A repeat gets the same answer."""
    return reports.fail_job(
        token=request.auth, job_id=job_id, fence=body.fence, cls=body.class_, message=body.message, retry=body.retry,  # type: ignore[attr-defined]
    )  # fmt: skip


def _claimed(runner: Runner) -> HttpResponse | None:
    job = claims.claim_job(runner=runner)
    return None if job is None else JsonResponse({"job": job_json(job)})


def job_json(job: Job) -> dict[str, Json]:
    flow = Run.objects.values_list("flow__slug", flat=True).get(pk=job.run_id)
    return {
        "id": job.pk, "fence": job.fence, "run": job.run_id, "flow": flow, "step": job.step,
        "item": None if job.item < 0 else job.item, "labels": job.labels, "lease": job.lease,
        "takeovers": job.takeovers, "log_size": job.log_size,
        **{name: job.spec[name] for name in ("key", "input", "command", "env")},
        "files": [_file(file) for file in job.spec["files"]],
    }  # fmt: skip


def _file(file: dict[str, Json]) -> dict[str, Json]:
    row = artifacts.get(file["resource"])
    return {**file, "size": row.size, "sha256": row.sha256, "content_type": row.content_type}
