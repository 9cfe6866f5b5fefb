"""Runs that start from others: a replay begins anew, a fork keeps what came before a step."""

from __future__ import annotations

from typing import Any, Final, Literal

from django.db import transaction

from flows.definition.sensitive import MARK, holds_mark, restored
from resources import audit
from resources.access import Actor
from resources.errors import BadInput, Conflict
from runs import acting, actions, clock, controls, store
from runs.actions import Started
from runs.engine import inputs as given
from runs.engine import standing
from runs.engine.decide import decide
from runs.models import Run
from runs.sensitive.rows import of_run

Json = Any
#: stands for the input of the run that is replayed: None is an input, too
SAME: Final = object()


def replay_run(
    *, actor: Actor, run_id: str, input: Json = SAME, release: Literal["live", "same"] = "live", reason: str = "",
    idempotency_key: str | None = None,
) -> Started:  # fmt: skip
    """A new run with the same input, or with another one, on the live release or on the one it had.

    Raises as start_run; NotFound, NotAllowed; Conflict `run_active`; BadInput `bad_release`, `sensitive_mark`.
    """
    run, loaded = controls.find(actor, run_id)
    controls.check(loaded, "replay")
    if release not in ("live", "same"):
        raise BadInput("A replay runs on the live release or on the same one.", code="bad_release")
    value = _input(run, input)
    with transaction.atomic():
        started = actions.start_run(
            actor=actor, flow=run.flow, input=value, source="replay",
            trigger=_trigger(run, "replay"), release=run.release if release == "same" else None,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        _check_started(started)
        _record(actor, "replay", run_id, started, reason)
    return started


def fork_run(
    *, actor: Actor, run_id: str, step: str, input: Json = SAME, reason: str = "", idempotency_key: str | None = None
) -> Started:
    """A new run of the same release that begins at `step`, with what came before it kept; protected steps are asked
    about again. Raises as replay_run; Conflict with a code of recoveries.REFUSALS."""
    run, loaded = controls.find(actor, run_id)
    controls.check(loaded, "fork", step)
    kept = [standing.keep(s) for s in standing.kept_by_fork(loaded.plan, loaded.state, step)]
    value = _input(run, input)
    with transaction.atomic():
        started = actions.start_run(
            actor=actor, flow=run.flow, input=value, source="fork",
            trigger={**_trigger(run, "fork"), "step": step}, release=run.release, idempotency_key=idempotency_key,
        )  # fmt: skip
        _check_started(started)
        if started.created:
            _keep(started.run.pk, given.Forked(step, run_id, kept, actor.name, reason))
        _record(actor, "fork", run_id, started, reason)
    return started


def _input(run: Run, given: Json) -> Json:
    """What was left as it is shown stays as it is. Raises BadInput `sensitive_mark`."""
    if given is SAME:
        return run.input
    value = restored(given, of_run(run).input(run.input), run.input)
    if holds_mark(value) and not holds_mark(run.input):
        raise BadInput(
            f"“{MARK}” stands where this run has no sensitive value.",
            code="sensitive_mark", hint="Leave it where it was, or write the value.",
        )  # fmt: skip
    return value


def _check_started(started: Started) -> None:
    """A copy is asked for by a person, who must learn that there is none. Raises Conflict `key_taken`."""
    if started.skipped:
        said = "Nothing was started: another run holds the place of the concurrency key."
        raise Conflict(said, code="key_taken", hint="Wait until it has ended.", details={"runs": [started.run.pk]})


def _keep(run_id: str, event: given.Forked) -> None:
    """In the transaction that made the run: no worker has seen it yet."""
    loaded = store.load(run_id)
    assert loaded is not None  # noqa: S101  for mypy; it was inserted just now
    now = clock.now()
    decision = decide(loaded.plan, loaded.state, event, now, urls=acting.urls_of(loaded.plan, loaded.state))
    assert decision.accepted  # noqa: S101  a run without steps takes them
    store.save(loaded, store.Save([decision], now))


def _trigger(run: Run, kind: str) -> dict[str, Json]:
    """What the flow's expressions read of the trigger stays; who started it, and from what, is new."""
    return {**run.trigger, "kind": kind, "of": run.pk}


def _record(actor: Actor, control: str, run_id: str, started: Started, reason: str) -> None:
    if started.created:
        data = {"reason": reason, "run": started.run.pk}
        audit.record(actor=actor, action=f"run.{control}", object_type="run", object_id=run_id, data=data)
