"""Attempts that take long: progress, checkpoint, stall, and a request to stop that arrives."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from flows.definition.plan import Handler, Plan, Retry, StepPlan
from flows.models import Flow, Release
from flows.steps import configs, registry
from flows.steps.base import Done, Fail, Family, Outcome, StepContext, StepError
from flows.steps.base import Retry as Again
from flows.steps.fields import Config
from resources.stop import Stop
from runs import live
from runs.actions import cancel_run
from runs.models import Run, RunEvent, StepRun, Work
from runs.worker import Worker
from tests.engine.cluster import (
    PATIENCE,
    SYSTEM,
    Cluster,
    begin,
    check_fold,
    ended,
    get,
    make_connections,
    make_flow,
    wait_until,
)


class LongConfig(Config):
    """Does what the test says."""


class LongFamily(Family):
    name: ClassVar[str] = "long"
    Config: ClassVar[type[BaseModel]] = LongConfig
    title: ClassVar[str] = "Long"
    summary: ClassVar[str] = "Takes long."
    has_effect: ClassVar[bool] = False
    does: ClassVar[Any] = None

    def execute(self, ctx: StepContext) -> Outcome:
        outcome: Outcome = type(self).does(ctx)
        return outcome


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it with what the step `a` of `run_it` does."""
    monkeypatch.setattr("flows.steps.configs.CONFIGS", {**configs.CONFIGS, "long": LongConfig})
    monkeypatch.setitem(registry._registry._members, "long", LongFamily())
    monkeypatch.setattr(live, "QUIET", 0.0)
    monkeypatch.setattr(live, "EVERY", 0.05)
    monkeypatch.setattr("runs.heart.TICK", 0.05)

    def set_it(what: Any) -> None:
        LongFamily.does = staticmethod(what)

    return set_it


def run_it(**rest: Any) -> str:
    """A run of one step of that family; a worker has started it."""
    step = StepPlan(id="a", family="long", config={}, **{"timeout": 2 * PATIENCE, "retry": Retry(initial=0.01), **rest})
    plan = Plan(language=1, flow="long", title="Long", steps=(step,))
    flow = Flow.objects.create(slug="long")
    made = {"plan_json": plan.to_json(), "checksum": plan.checksum, "language": 1}
    flow.live = Release.objects.create(flow=flow, version="1.0.0", source="", revision=1, **made)
    flow.save(update_fields=["live"])
    return begin(flow)


def work(worker: Worker, run: str) -> Run:
    """Until the run has ended."""
    wait_until(lambda: worker.work_once() or ended([run]))
    wait_until(lambda: not worker.work_once() and ended([run]))
    worker.heart.stop()
    return Run.objects.get(pk=run)


def meanwhile(what: Any) -> threading.Thread:
    def call() -> None:
        from django.db import connection

        try:
            what()
        finally:
            connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    return thread


# -- the request to stop -------------------------------------------------------------------------------------------
def test_whoever_blocks_is_woken_once_and_later_ones_at_once() -> None:
    stop, called = Stop(), []
    with stop.on_stop(lambda: called.append("in time")):
        stop.set("deadline")
        stop.set("cancelled")
    with stop.on_stop(lambda: called.append("late")):
        pass
    assert (called, stop.why, stop.wait(0), stop.remaining()) == (["in time", "late"], "deadline", True, 0.0)


def test_what_is_over_is_not_ended_any_more() -> None:
    stop, called = Stop(), []
    with stop.on_stop(lambda: called.append(1)):
        pass
    stop.set()
    assert called == []


# -- progress and checkpoint ---------------------------------------------------------------------------------------
def test_progress_is_kept_while_the_attempt_runs_with_secrets_masked(database: str, does: Any) -> None:
    seen: list[Any] = []

    def slowly(ctx: StepContext) -> Outcome:
        ctx.mask("hunter2")
        ctx.progress("reading with hunter2", 40)
        ctx.log("opened with hunter2")
        ctx.tail("said hun")
        ctx.tail("ter2")
        wait_until(lambda: StepRun.objects.get(step="a").live)
        seen.append(StepRun.objects.get(step="a").live)
        return Done(1)

    does(slowly)
    run = run_it()
    assert work(Worker("w"), run).status == "succeeded"
    assert seen[0]["progress"]["percent"] == 40.0 and "hunter2" not in seen[0]["progress"]["message"]
    assert seen[0]["progress"]["message"].startswith("reading with")
    assert (seen[0]["log"], seen[0]["tail"]) == (["opened with •••"], "said •••")
    check_fold(run)


def test_a_secret_that_comes_in_pieces_is_never_shown_by_halves(database: str, does: Any) -> None:
    seen: list[str] = []

    def shown() -> str:
        live = StepRun.objects.get(step="a").live or {}
        return str(live.get("tail", ""))

    def slowly(ctx: StepContext) -> Outcome:
        ctx.mask("hunter2-and-more")
        ctx.tail("key: hunter2-and")
        wait_until(lambda: shown())
        seen.append(shown())
        ctx.tail("-more, done; hunt a fox")
        wait_until(lambda: len(shown()) > len(seen[0]))
        seen.append(shown())
        return Done(1)

    does(slowly)
    assert work(Worker("w"), run_it()).status == "succeeded"
    assert seen == ["key: ", "key: •••, done; hunt a fox"]


def test_the_next_attempt_gets_the_checkpoint_of_one_that_failed(database: str, does: Any) -> None:
    def resumes(ctx: StepContext) -> Outcome:
        if ctx.previous_checkpoint is None:
            ctx.checkpoint({"page": 7})
            return Again(StepError("network", "It broke."))
        return Done(ctx.previous_checkpoint)

    does(resumes)
    run = run_it()
    assert work(Worker("w"), run).status == "succeeded"
    assert StepRun.objects.get(step="a").output == {"page": 7}
    check_fold(run)


def test_the_checkpoint_of_a_lost_attempt_is_in_the_history(database: str, does: Any) -> None:
    dead = threading.Event()

    def dies(ctx: StepContext) -> Outcome:
        if ctx.attempt == 1:
            ctx.checkpoint({"page": 3})
            wait_until(lambda: StepRun.objects.get(step="a").live)
            Work.objects.update(wake_at=0, owner="")  # its lease is ended: somebody else takes over
            dead.wait(PATIENCE)
        return Done(ctx.previous_checkpoint)

    does(dies)
    run = run_it()
    zombie = Worker("zombie")
    thread = meanwhile(zombie.work_once)
    wait_until(lambda: Work.objects.filter(owner="").exists())
    assert work(Worker("w"), run).status == "succeeded"
    dead.set()
    thread.join()
    zombie.heart.stop()
    assert StepRun.objects.get(step="a").output == {"page": 3}
    assert RunEvent.objects.get(run_id=run, type="step.lost").data["checkpoint"] == {"page": 3}
    check_fold(run)


def test_a_checkpoint_that_is_too_large_fails_the_step_and_says_so(database: str, does: Any) -> None:
    does(lambda ctx: ctx.checkpoint("x" * 70_000) or Done(1))
    run = work(Worker("w"), run_it())
    assert run.error["class"] == "limit" and "65536" in run.error["message"]


# -- stall ---------------------------------------------------------------------------------------------------------
def test_an_attempt_that_reports_nothing_is_stopped_and_tried_again(database: str, does: Any) -> None:
    def stalls_once(ctx: StepContext) -> Outcome:
        if ctx.attempt > 1:
            return Done("moved")
        ctx.cancelled.wait(PATIENCE)
        return Again(StepError("network", "It broke off."))

    does(stalls_once)
    run = run_it(stall_after=0.2)
    assert work(Worker("w"), run).status == "succeeded"
    types = list(RunEvent.objects.filter(run_id=run).order_by("seq").values_list("type", flat=True))
    assert "step.stalled" in types
    assert RunEvent.objects.get(run_id=run, type="step.retrying").data["error"]["class"] == "stalled"
    check_fold(run)


def test_an_attempt_that_reports_does_not_stall_and_one_that_never_does_is_given_a_value(
    database: str, does: Any
) -> None:
    def works(ctx: StepContext) -> Outcome:
        for _ in range(8):
            ctx.heartbeat()
            time.sleep(0.1)
        return Done("through")

    does(works)
    run = run_it(stall_after=0.5)
    work(Worker("w"), run)
    assert StepRun.objects.get(step="a").output == "through"
    does(lambda ctx: Again(StepError("network", str(ctx.cancelled.wait(PATIENCE)))))
    Flow.objects.filter(slug="long").update(slug="other")
    run = run_it(stall_after=0.2, retry=Retry(max_attempts=1), on_stall=Handler("value", value="stalled"))
    assert work(Worker("w"), run).status == "succeeded"
    assert StepRun.objects.get(run_id=run).output == "stalled"


# -- being asked to stop -------------------------------------------------------------------------------------------
def test_a_cancel_reaches_the_attempt_and_the_run_ends_when_it_has(database: str, does: Any) -> None:
    def until_asked(ctx: StepContext) -> Outcome:
        asked = ctx.cancelled.wait(PATIENCE)
        return Again(StepError("network", "It broke off."), acted=False) if asked else Fail(StepError("code", "No."))

    does(until_asked)
    run = run_it()
    thread = meanwhile(
        lambda: (
            wait_until(lambda: StepRun.objects.filter(status="running").exists()),
            cancel_run(actor=SYSTEM, run_id=run, reason="enough"),
        )
    )
    assert work(Worker("w"), run).status == "cancelled"
    thread.join()
    step = StepRun.objects.get(run_id=run)
    assert (step.status, step.state["error"]["class"]) == ("cancelled", "cancelled")
    check_fold(run)


def test_the_steps_deadline_reaches_the_attempt(database: str, does: Any) -> None:
    def until_asked(ctx: StepContext) -> Outcome:
        assert ctx.timeout <= 0.5
        ctx.cancelled.wait(PATIENCE)
        return Again(StepError("network", "It broke off."))

    does(until_asked)
    run = run_it(deadline=0.5)
    other = meanwhile(lambda: wait_until(lambda: Worker("timer").work_once() and _asked()))
    assert work(Worker("w"), run).status == "failed"
    other.join()
    assert StepRun.objects.get(run_id=run).state["error"]["class"] == "deadline"
    check_fold(run)


def _asked() -> bool:
    return RunEvent.objects.filter(type="step.deadline").exists()


# -- real clusters -------------------------------------------------------------------------------------------------
SLOW = """
flow: slow
defaults: {timeout: 250s}
input: {type: object, properties: {kind: {type: string}}}
steps:
  - id: ask
    if: "${{ input.kind == 'http' }}"
    http: {connection: world, method: POST, path: "/payments?delay_ms=240000", json: {}}
  - id: compute
    if: "${{ input.kind == 'function' }}"
    function: {code: "n = 0\\nwhile True:\\n    n = n + 1", limits: {time: 30s}}
  - id: late
    if: "${{ input.kind == 'deadline' }}"
    deadline: 1s
    http: {connection: world, method: POST, path: "/payments?delay_ms=240000", json: {}}
"""


def test_a_cancel_and_a_deadline_reach_running_steps_of_any_cluster(database: str, world_url: str) -> None:
    """By itself, the function takes 30 s, the rest longer than is waited for."""
    make_connections(world_url)
    flow = make_flow(SLOW)
    with Cluster(database, workers=2) as _, Cluster(database, workers=2) as _:
        http, function = begin(flow, kind="http"), begin(flow, kind="function")
        late = begin(flow, kind="deadline")
        wait_until(lambda: StepRun.objects.filter(step__in=("ask", "compute"), status="running").count() == 2)
        wait_until(lambda: any(":ask:" in row["key"] for row in get(f"{world_url}/effects")))
        began = time.monotonic()
        for run in (http, function):
            cancel_run(actor=SYSTEM, run_id=run, reason="enough")
        wait_until(lambda: ended([function]), 25.0)
        wait_until(lambda: ended([http, late]))
        print(f"stopped after {time.monotonic() - began:.2f} s")
    statuses = {run.pk: run.status for run in Run.objects.all()}
    assert statuses == {http: "cancelled", function: "cancelled", late: "failed"}
    errors = {s.step: s.state["error"]["class"] for s in StepRun.objects.filter(status__in=("cancelled", "failed"))}
    assert errors == {"ask": "cancelled", "compute": "cancelled", "late": "deadline"}
    for run in (http, function, late):
        check_fold(run)
