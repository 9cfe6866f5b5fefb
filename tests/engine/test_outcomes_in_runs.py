"""Contracts, joins, routes, fallbacks and doubts in real runs on both databases; each history folds again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from resources.models import Connection
from runs import actions, clock, store, waits
from runs.models import LastGood, Run, RunEvent, StepRun, WaitToken, Work
from runs.worker import Worker
from tests.engine.cluster import (
    SYSTEM,
    Cluster,
    begin,
    check_fold,
    check_runs,
    ended,
    get,
    holder,
    make_connections,
    make_flow,
    wait_until,
)
from tests.engine.test_store_queue import drain
from tests.families.outside import Outside, serve

Json = Any


@pytest.fixture
def outside(database: str) -> Iterator[Outside]:
    with serve() as server:
        config = {"base_url": server.url, "allow_networks": ["127.0.0.0/8"]}
        Connection.objects.create(name="outside", kind="http", settings=config)
        yield server


def run_of(source: str, **input_: Json) -> Run:
    run = begin(make_flow(source), **input_)
    drain(Worker("w"))
    return ended_run(run)


def ended_run(run_id: str) -> Run:
    check_fold(run_id)
    return Run.objects.get(pk=run_id)


def step_of(run: Run | str, step: str, item: int = -1) -> StepRun:
    return StepRun.objects.get(run_id=run if isinstance(run, str) else run.pk, step=step, item=item)


def due_now() -> None:
    """Whatever waits for a time has it now."""
    Work.objects.filter(owner=None).update(wake_at=clock.now() - 1)


ROUTED = """
flow: routed
input: {type: object, properties: {n: {type: integer}}}
steps:
  - id: way
    route:
      rules:
        - {if: "${{ input.n > 10 }}", to: [big], name: large, value: "${{ input.n }}"}
      default: {to: [small]}
  - {id: big, function: {code: "'big'"}}
  - {id: small, function: {code: "'small'"}}
  - {id: last, function: {code: "1"}}
output: "${{ steps.way.output }}"
"""


def test_a_route_is_taken_and_recorded(database: str) -> None:
    run = run_of(ROUTED, n=11)
    assert (run.status, run.output) == ("succeeded", {"rule": 1, "name": "large", "value": 11})
    assert [step_of(run, s).status for s in ("big", "small", "last")] == ["succeeded", "skipped", "succeeded"]
    assert RunEvent.objects.get(type="step.routed").data["to"] == ["big"]


CONTRACT = """
flow: contract
input: {type: object, properties: {n: {type: integer}}}
steps:
  - id: first
    requires: [{if: "${{ input.n > 0 }}", message: n must be positive}]
    ensures: ["${{ steps.first.output < 10 }}"]
    output: {type: integer}
    function: {code: "n", input: {n: "${{ input.n }}"}}
  - {id: after, function: {code: "1"}}
"""


@pytest.mark.parametrize(("n", "broken"), [(0, "requires"), (10, "ensures"), (5, None)])
def test_a_breach_ends_the_run_before_anything_downstream(database: str, n: int, broken: str | None) -> None:
    run = run_of(CONTRACT, n=n)
    assert run.status == ("failed" if broken else "succeeded")
    assert not Work.objects.exists()
    if broken:
        assert (run.error["class"], run.error["details"]["contract"]) == ("contract", broken)
        assert step_of(run, "after").status == "skipped"


BIG = """
flow: big
steps:
  - id: list
    output: {type: array, items: {type: object}, minItems: 1000}
    function: {code: "[{'n': i, 'pad': 'x' * 60} for i in range(2000)]"}
  - id: each
    for_each: {items: "${{ steps.list.output }}", batch: 100}
    function: {code: "[p['pad'] for p in ps] * 2", input: {ps: "${{ item }}"}}
  - {id: between, function: {code: "1"}}
  - id: again
    for_each: {items: "${{ steps.each.output }}"}
    function: {code: "len(x)", input: {x: "${{ item }}"}}
output: {numbers: "${{ steps.again.output }}", pad: "${{ ['y', 'y', 'y', 'y'].map(i, i.replace('y', 'PAD')) }}"}
"""


def test_a_list_that_became_a_resource_is_fanned_over_and_so_is_a_large_join(database: str) -> None:
    run = run_of(BIG.replace("PAD", "z" * 3000).replace("['y', 'y', 'y', 'y']", str(["y"] * 30)))
    assert run.status == "succeeded", run.error
    assert "$res" in step_of(run, "list").output
    assert "$res" in step_of(run, "each").output
    assert step_of(run, "again").output == [200] * 20
    assert "$res" in run.output, "a run's own output becomes a resource, too"
    told = RunEvent.objects.get(run=run, type="run.succeeded").data
    assert told["output"] == run.output
    assert RunEvent.objects.filter(run=run, type="step.loaded").count() == 2


def test_a_large_output_that_breaks_its_schema_is_found_out(database: str) -> None:
    run = run_of(BIG.replace("minItems: 1000", "minItems: 9000"))
    assert (run.error["class"], run.error["details"]["contract"]) == ("contract", "output")


FOREIGN = """
flow: foreign
steps:
  - {id: a, function: {code: "{'$res': 'res://REF'}"}}
  - {id: b, for_each: {items: "${{ steps.a.output }}"}, function: {code: "1"}}
"""


def test_a_resource_of_another_run_cannot_be_fanned_over(database: str) -> None:
    other = run_of(BIG)
    run = run_of(FOREIGN.replace("res://REF", step_of(other, "list").output["$res"]))
    assert (run.status, run.error["class"]) == ("failed", "refused")


STALE = """
flow: stale
input: {type: object, properties: {bad: {type: boolean, default: false}}}
steps:
  - id: rate
    for_each: {items: [nok, sek], key: "${{ item }}"}
    fallback: {last_good: true, on: [code]}
    function: {code: "1 / (0 if bad else 1) and what", input: {bad: "${{ input.bad }}", what: "${{ item }}"}}
  - id: one
    fallback: {last_good: true}
    function: {code: "['x' * 70 * (0 if bad else 1000)][1 if bad else 0]", input: {bad: "${{ input.bad }}"}}
output: {stale: "${{ steps.one.stale }}", old: "${{ steps.one.age >= 0.0 }}", rate: "${{ steps.rate.output }}"}
"""


def test_the_last_good_output_stands_in_and_the_run_is_degraded(database: str) -> None:
    flow = make_flow(STALE)
    nothing_yet = begin(flow, bad=True)
    drain(Worker("w"))
    failed = ended_run(nothing_yet)
    assert failed.status == "failed" and "no good output" in failed.error["message"]
    good = begin(flow, bad=False)
    drain(Worker("w"))
    assert not ended_run(good).degraded
    assert LastGood.objects.count() == 3
    bad = begin(flow, bad=True)
    drain(Worker("w"))
    run = ended_run(bad)
    assert (run.status, run.degraded) == ("succeeded", True), run.error
    assert run.output == {"stale": True, "old": True, "rate": ["nok", "sek"]}
    assert step_of(run, "one").state["stale"]["run"] == good
    assert step_of(run, "one").output["sha256"] == step_of(good, "one").output["sha256"]
    assert step_of(run, "one").output["$res"] != step_of(good, "one").output["$res"], "the other run may go"
    assert LastGood.objects.filter(run_id=good).count() == 3, "what is stale is not kept as good"


RACE = """
flow: race
steps:
  - {id: slow, needs: [], wait: {callback: {timeout: 1h, schema: {type: object, required: [ok]}}}}
  - {id: fast, needs: [], wait: {callback: {timeout: 1h, schema: {type: object, required: [ok]}}}}
  - {id: use, needs: [slow, fast], join: any, function: {code: "1"}}
"""


def test_a_joins_losers_are_withdrawn_and_their_answers_are_late(database: str) -> None:
    run = begin(make_flow(RACE))
    drain(Worker("w"))
    loaded = store.load(run)
    assert loaded is not None
    fast, slow = (waits.token_of(loaded.plan, run, step, -1, 1) for step in ("fast", "slow"))
    assert actions.deliver(token=fast, payload={"ok": True}, actor=SYSTEM).outcome == "accepted"
    drain(Worker("w"))
    assert ended_run(run).status == "succeeded"
    assert (step_of(run, "slow").status, step_of(run, "slow").state["reason"]) == ("cancelled", "join")
    assert WaitToken.objects.get(token=slow).status == "closed"
    assert actions.deliver(token=slow, payload={"ok": True}, actor=SYSTEM).outcome == "late"
    assert not Work.objects.exists()


def test_a_callback_that_breaks_its_schema_is_refused_and_the_wait_stays_open(database: str) -> None:
    run = begin(make_flow(RACE))
    token = waits.token_of(store.plan_of(Run.objects.get(pk=run).release_id), run, "fast", -1, 1)
    early = actions.deliver(token=token, payload={}, actor=SYSTEM)
    assert early.outcome == "refused", "before the wait opens, too"
    drain(Worker("w"))
    refused = actions.deliver(token=token, payload=7, actor=SYSTEM)
    assert refused.outcome == "refused"
    assert [p["path"] for p in refused.problems] == [[]]
    assert RunEvent.objects.filter(run_id=run, type="callback.refused").count() == 2
    assert step_of(run, "fast").status == "waiting"
    assert actions.deliver(token=token, payload={"ok": 1}, actor=SYSTEM).outcome == "accepted"
    drain(Worker("w"))
    assert ended_run(run).status == "succeeded"


LATER = """
flow: later
steps:
  - id: ask
    timeout: 5s
    retry: {max_attempts: 2, initial: 1s, max: 2s}
    http: {connection: outside, path: "/status/429?after=77"}
"""


def test_the_time_the_other_side_asks_for_is_kept(outside: Outside) -> None:
    run = begin(make_flow(LATER))
    before = clock.now()
    drain(Worker("w"))
    wake_at = step_of(run, "ask").state["wake_at"]
    assert before + 77 <= wake_at <= clock.now() + 77
    assert len(outside.seen) == 1
    due_now()
    drain(Worker("w"))
    assert len(outside.seen) == 1, "a row that comes early starts nothing"


PAY = """
flow: pay
input: {type: object, properties: {how: {type: string, default: ""}}}
steps:
  - id: pay
    effect: once
    timeout: 10s
    retry: {max_attempts: 3, initial: 1ms, max: 2ms}
    http: {connection: plain, method: POST, path: "/plain/payments${{ input.how }}", json: {amount: 7}}
    already_done:
      http: {connection: plain, path: /effects}
      if: "${{ check.output.body.exists(e, e.key == run.id + ':pay:1' && e.applied > 0) }}"
      output: asked
  - {id: after, function: {code: "1"}}
"""


def test_a_payment_whose_answer_was_dropped_is_asked_about_and_not_sent_again(database: str, world_url: str) -> None:
    make_connections(world_url)
    run = run_of(PAY, how="?drop_rate=1")
    assert (run.status, step_of(run, "pay").output) == ("succeeded", "asked")
    [effect] = get(f"{world_url}/effects")
    assert (effect["requests"], effect["applied"]) == (1, 1)
    assert RunEvent.objects.get(type="step.checked").data["happened"] is True


def test_a_payment_that_did_not_happen_is_sent_again(database: str, world_url: str) -> None:
    """The world's error knob refuses it: 503, and nothing took effect."""
    make_connections(world_url)
    run = begin(make_flow(PAY), how="?error_rate=1")
    for _ in range(12):
        drain(Worker("w"))
        due_now()
    assert ended_run(run).error["class"] == "http_5xx"
    [effect] = get(f"{world_url}/effects")
    assert (effect["requests"], effect["applied"]) == (3, 0)
    assert [e.data["happened"] for e in RunEvent.objects.filter(type="step.checked")] == [False] * 3


def test_a_worker_killed_in_the_middle_of_a_payment_makes_it_once(database: str, world_url: str) -> None:
    """kill -9 after the effect; the target ignores the key."""
    make_connections(world_url)
    flow = make_flow(PAY)
    with Cluster(database) as cluster:
        run = begin(flow, how="?delay_ms=600")
        victim = wait_until(lambda: holder(run, "pay"))
        wait_until(lambda: get(f"{world_url}/effects"))
        cluster.kill(victim)
        wait_until(lambda: ended([run]))
    check_runs([run])
    [effect] = get(f"{world_url}/effects")
    assert (effect["requests"], effect["applied"]) == (1, 1)
    assert RunEvent.objects.filter(run_id=run, type="step.lost", step="pay").count() == 1
    assert step_of(run, "pay").output == "asked"
