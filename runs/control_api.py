"""API v1: controls of a run, of one of its steps, and of many runs at once."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from resources.api import Input, Text, actor_of, declared
from resources.errors import BadInput, NotFound
from runs import bulk, controls, copies, filters, recoveries, store
from runs.api import RunOut, run_json, visible_run
from runs.engine.state import NO_ITEM
from runs.filter_api import RunFilterIn
from runs.sensitive import reveal

router = Router(tags=["runs"])

BulkName = Literal["pause", "resume", "cancel", "terminate", "retry", "replay"]
_RUN = declared((200, RunOut), errors=(409,))
_NEW = declared((200, RunOut), (201, RunOut), errors=(409,))


class ReasonIn(Input):
    reason: Text = Field("", max_length=controls.MAX_REASON, description="Kept in the history and the audit log.")


class RetryIn(ReasonIn):
    from_step: Text | None = Field(
        None, max_length=64, description="Run this step and all that depends on it in a new pass; else what failed."
    )


class CopyIn(ReasonIn):
    input: Any = Field(None, description="The input of the new run; without it, that of this one.")
    idempotency_key: Text | None = Field(None, min_length=1, max_length=200)


class ReplayIn(CopyIn):
    release: Literal["live", "same"] = Field("live", description="The live release, or the one this run had.")


class ForkIn(CopyIn):
    step: Text = Field(max_length=64, description="The step to begin at; what came before it is kept.")


class RevealIn(Input):
    field: Text = Field(max_length=reveal.MAX_FIELD, description="input.card, vars.key, steps.look[3].output.salary, …")
    reason: Text = Field(min_length=1, max_length=reveal.MAX_REASON, description="Kept in the audit log.")


class RevealOut(Schema):
    run: str
    field: str
    value: Any


class StepIn(ReasonIn):
    item: int | None = Field(None, ge=0, le=100_000, description="One item of a fan-out; else the whole step.")


class StepCompleteIn(StepIn):
    output: Any = Field(None, description="What the step would have given.")


class OutcomeIn(StepCompleteIn):
    outcome: Literal["done", "not_done", "again"]


class RecoveryOut(Schema):
    control: str
    step: str | None = Field(description="Null for a control of the whole run.")
    item: int | None
    allowed: bool
    refusal: str | None = Field(description="Stable code of why not.")
    sentence: str
    again: list[str] = Field(description="Steps that run again.")
    asked_again: list[str] = Field(description="Approvals that are asked again.")
    may_repeat: list[str] = Field(description="Steps whose effect may happen twice.")
    kept: list[str] = Field(description="Steps whose outputs are kept.")


class RecoveriesOut(Schema):
    items: list[RecoveryOut]


class BulkIn(ReasonIn):
    control: BulkName
    ids: list[Text] | None = Field(None, max_length=bulk.MAX_RUNS)
    filter: RunFilterIn | None = Field(None, description="Instead of ids: the newest 500 that match.")
    dry_run: bool = Field(False, description="Change nothing; `done` says what would be.")


class ResultOut(Schema):
    run: str
    done: bool
    status: str | None = Field(description="The run's status afterwards, where it was done.")
    new_run: str | None = Field(description="The run a replay started.")
    code: str | None = Field(description="Why nothing was done.")
    message: str | None


class BulkOut(Schema):
    items: list[ResultOut]


class RunsBulkOut(BulkOut):
    total: int = Field(description="How many there are: of `ids`, or matching the filter.")
    next_before: str | None = Field(description="Older ones match, too: the filter's `before` to go on with them.")


@router.post("/runs/bulk", response=declared((200, RunsBulkOut)))
def bulk_control(request: HttpRequest, body: BulkIn) -> dict[str, Any]:
    """One control for many runs. Each has a result of its own; one that is refused stops none of the others."""
    actor = actor_of(request)
    if (body.ids is None) == (body.filter is None):
        raise BadInput("Name runs by `ids` or by `filter`, one of the two.", code="invalid_request")
    ids, total = body.ids or [], len(body.ids or [])
    if body.filter is not None:
        ids, total = filters.matching(actor, body.filter.all_asked(), time.time(), bulk.MAX_RUNS)
    found = bulk.control_runs(actor=actor, control=body.control, ids=ids, reason=body.reason, dry_run=body.dry_run)
    following = bulk.next_before(found, total if body.filter else 0)
    return {"items": [result_json(r) for r in found], "total": total, "next_before": following or None}


def result_json(found: bulk.Result) -> dict[str, Any]:
    """As ResultOut: what there is nothing to say about is null."""
    return {name: value if name in ("run", "done") else value or None for name, value in asdict(found).items()}


@router.get("/runs/{run_id}/recoveries", response=declared((200, RecoveriesOut)))
def list_recoveries(request: HttpRequest, run_id: str) -> dict[str, Any]:
    """What can be done about this run now, with what each would lead to; and why not the rest."""
    visible_run(request, run_id)
    loaded = store.load(run_id)
    if loaded is None:
        raise NotFound(f"There is no run {run_id[:40]!r}.")
    return {"items": [_recovery(r) for r in recoveries.recoveries(loaded.plan, loaded.state)]}


def _recovery(found: recoveries.Recovery) -> dict[str, Any]:
    return {
        "control": found.control,
        "step": found.step or None,
        "item": None if found.item == NO_ITEM else found.item,
        "allowed": found.allowed,
        "refusal": found.refusal or None,
        "sentence": found.sentence,
        **{k: list(v) for k, v in asdict(found.consequences).items()},
    }


# -- the whole run -------------------------------------------------------------------------------------------------
@router.post("/runs/{run_id}/pause", response=_RUN, by_alias=True)
def pause_run(request: HttpRequest, run_id: str, body: ReasonIn | None = None) -> dict[str, Any]:
    """Nothing new starts; attempts in flight end, answers are kept, deadlines keep running."""
    return _controlled(request, run_id, "pause_run", body or ReasonIn(reason=""))


@router.post("/runs/{run_id}/resume", response=_RUN, by_alias=True)
def resume_run(request: HttpRequest, run_id: str, body: ReasonIn | None = None) -> dict[str, Any]:
    """Go on where a pause stopped."""
    return _controlled(request, run_id, "resume_run", body or ReasonIn(reason=""))


@router.post("/runs/{run_id}/terminate", response=_RUN, by_alias=True)
def terminate_run(request: HttpRequest, run_id: str, body: ReasonIn | None = None) -> dict[str, Any]:
    """End at once: nothing is waited for and nothing is undone. What attempts in flight still say is refused."""
    return _controlled(request, run_id, "terminate_run", body or ReasonIn(reason=""))


@router.post("/runs/{run_id}/retry", response=_RUN, by_alias=True)
def retry_run(request: HttpRequest, run_id: str, body: RetryIn | None = None) -> dict[str, Any]:
    """Reopen a run that gave up: at its failed steps, or `from_step` on in a new pass."""
    step = body.from_step if body else None
    if step is None:
        return _controlled(request, run_id, "retry_run", ReasonIn(reason=body.reason if body else ""))
    return _controlled(request, run_id, "retry_run_from", ReasonIn(reason=body.reason if body else ""), step=step)


@router.post("/runs/{run_id}/replay", response=_NEW, by_alias=True)
def replay_run(request: HttpRequest, run_id: str, body: ReplayIn | None = None) -> Status[dict[str, Any]]:
    """Start a new run with the same input or another one. 201; with an `idempotency_key` used before, 200."""
    visible_run(request, run_id)
    body = body or ReplayIn.model_validate({})
    started = copies.replay_run(
        actor=actor_of(request), run_id=run_id, input=_input(body), release=body.release, reason=body.reason,
        idempotency_key=body.idempotency_key,
    )  # fmt: skip
    return Status(201 if started.created else 200, run_json(visible_run(request, started.run.pk)))


@router.post("/runs/{run_id}/fork", response=_NEW, by_alias=True)
def fork_run(request: HttpRequest, run_id: str, body: ForkIn) -> Status[dict[str, Any]]:
    """Start a new run that begins at a step, with what came before it kept. 201, or 200 as a replay."""
    visible_run(request, run_id)
    started = copies.fork_run(
        actor=actor_of(request), run_id=run_id, step=body.step, input=_input(body), reason=body.reason,
        idempotency_key=body.idempotency_key,
    )  # fmt: skip
    return Status(201 if started.created else 200, run_json(visible_run(request, started.run.pk)))


def _input(body: CopyIn) -> Any:
    return body.input if "input" in body.model_fields_set else copies.SAME


@router.post("/runs/{run_id}/reveal", response=declared((200, RevealOut)))
def reveal_field(request: HttpRequest, run_id: str, body: RevealIn) -> dict[str, Any]:
    """The true value of a field that is shown as `[sensitive]`. Needs the role revealer; audited with the reason."""
    visible_run(request, run_id)
    value = reveal.reveal_field(actor=actor_of(request), run_id=run_id, field=body.field, reason=body.reason)
    return {"run": run_id, "field": body.field, "value": value}


# -- one step ------------------------------------------------------------------------------------------------------
@router.post("/runs/{run_id}/steps/{step}/skip", response=_RUN, by_alias=True)
def skip_step(request: HttpRequest, run_id: str, step: str, body: StepIn | None = None) -> dict[str, Any]:
    """Pass over a failed step; what needs it goes on. Never past an approval."""
    given = body or StepIn.model_validate({})
    return _controlled(request, run_id, "skip_step", given, step=step, item=given.item)


@router.post("/runs/{run_id}/steps/{step}/complete", response=_RUN, by_alias=True)
def complete_step(request: HttpRequest, run_id: str, step: str, body: StepCompleteIn) -> dict[str, Any]:
    """A failed or unknown step counts as succeeded with this output. Never past an approval."""
    return _controlled(request, run_id, "complete_step", body, step=step, item=body.item, output=body.output)


@router.post("/runs/{run_id}/steps/{step}/outcome", response=_RUN, by_alias=True)
def say_outcome(request: HttpRequest, run_id: str, step: str, body: OutcomeIn) -> dict[str, Any]:
    """Say what became of a step whose outcome is unknown: `done` (with its output), `not_done`, or try it `again`."""
    more = {"step": step, "item": body.item, "output": body.output, "outcome": body.outcome}
    return _controlled(request, run_id, "say_outcome", body, **more)


def _controlled(request: HttpRequest, run_id: str, action: str, body: ReasonIn, **more: Any) -> dict[str, Any]:
    visible_run(request, run_id)
    getattr(controls, action)(actor=actor_of(request), run_id=run_id, reason=body.reason, **more)
    return run_json(visible_run(request, run_id))
