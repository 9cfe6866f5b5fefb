"""Jobs in real runs on both databases: who gets them, how they end, what is left when somebody dies."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from flows.models import Flow
from resources import artifacts
from resources.errors import BadInput, Conflict, Gone, NotAllowed, NotFound, OrchestraError, TooLarge
from runs import actions, clock, controls
from runs.jobs import claims, logs, reports, results, tokens
from runs.jobs.models import Job, JobLog, Runner, RunnerToken
from runs.models import Run, RunEvent, StepRun, WaitToken, Work
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, check_fold, make_flow, wait_until
from tests.engine.test_store_queue import drain

Json = Any

FLOW = """
flow: fix%d
input: {type: object, properties: {issue: {type: integer}}}
steps:
  - id: fix
    job: {labels: [linux, gpu], input: {issue: "${{ input.issue }}"}, %s}
    %s
output: "${{ steps.fix.output.result }}"
"""


def flow(job: str = "lease: 60s", step: str = "retry: {max_attempts: 1}") -> Any:
    return make_flow(FLOW % (Flow.objects.count(), job, step))


def token_for(folder: str = "", labels: tuple[str, ...] = ()) -> RunnerToken:
    return tokens.create_runner_token(actor=SYSTEM, name="t", folder=folder, labels=labels)[0]


def runner(name: str = "vm", *labels: str, token: RunnerToken | None = None) -> Runner:
    has = labels or ("gpu", "linux", "big")
    return claims.present_runner(token=token or token_for(), name=name, labels=has)


def work() -> None:
    drain(Worker("w"))


def started(**kwargs: Json) -> str:
    run = begin(flow(**kwargs), issue=7)
    work()
    return run


def taken(who: Runner | None = None) -> Job:
    job = claims.claim_job(runner=who or runner())
    assert job is not None
    return job


def token_of(job: Job) -> RunnerToken:
    assert job.runner is not None
    return job.runner.token


def complete(job: Job, output: Json, fence: int | None = None) -> Json:
    at = job.fence if fence is None else fence
    return reports.complete_job(token=token_of(job), job_id=job.pk, fence=at, output=output)


def fail(job: Job, cls: str = "exit", **more: Json) -> Json:
    return reports.fail_job(token=token_of(job), job_id=job.pk, fence=job.fence, cls=cls, message="It broke.", **more)


def beat(job: Job, **more: Json) -> bool:
    return reports.heartbeat(token=token_of(job), job_id=job.pk, fence=job.fence, **more)


def over(job: Job) -> None:
    """Its lease has run out, and the keeper has looked."""
    now = clock.now()
    Job.objects.filter(pk=job.pk).update(lease_until=now - 1)
    claims.expire(now)
    job.refresh_from_db()


def of_run(run: str) -> Run:
    work()
    check_fold(run)
    return Run.objects.get(pk=run)


def error_of(run: str) -> Json:
    return of_run(run).error or {}


def due_now(kind: str = Work.Kind.STEP) -> None:
    Work.objects.filter(owner=None, kind=kind).update(wake_at=clock.now() - 1)


# -- from end to end ----------------------------------------------------------------------------------------------
def test_a_runner_gets_the_input_and_its_output_is_the_step_s(database: str) -> None:
    run = started()
    job = taken()
    assert (job.spec["input"], job.spec["key"]) == ({"issue": 7}, f"{run}:fix:1")
    assert Run.objects.get(pk=run).status == "waiting"
    assert complete(job, {"patch": "x"}) == {"state": "done", "duplicate": False}
    found = of_run(run)
    assert (found.status, found.output) == ("succeeded", {"patch": "x"})
    assert StepRun.objects.get(run=run).output["runner"] == "vm"
    assert not Work.objects.exists()
    types = list(RunEvent.objects.filter(run=run, step="fix").values_list("type", flat=True))
    assert types.index("job.claimed") < types.index("job.ended") < types.index("step.answered")


def test_only_a_runner_with_all_the_labels_of_the_right_folder_gets_it(database: str) -> None:
    started()
    elsewhere = token_for("payments")
    assert claims.claim_job(runner=runner("a", "linux")) is None
    assert claims.claim_job(runner=runner("b", "gpu", "linux", token=elsewhere)) is None
    assert claims.claim_job(runner=runner("c", "gpu", "linux")) is not None
    assert claims.claim_job(runner=runner("d", "gpu", "linux")) is None


def test_a_token_s_labels_bound_its_runners(database: str) -> None:
    with pytest.raises(NotAllowed, match="gpu"):
        runner("a", "gpu", token=token_for(labels=("linux",)))


def test_a_revoked_token_claims_nothing(database: str) -> None:
    started()
    who = runner()
    tokens.revoke_runner_token(actor=SYSTEM, token_id=who.token_id)
    with pytest.raises(NotAllowed):
        claims.claim_job(runner=who)
    assert Job.objects.get().state == "queued"


def test_a_failure_by_class_is_tried_again_or_not_as_the_step_says(database: str) -> None:
    once = started(step="retry: {max_attempts: 3}")
    fail(taken(), "exit")
    assert (error_of(once)["class"], Job.objects.filter(run=once).count()) == ("exit", 1)
    again = started(step="retry: {max_attempts: 2, on: [exit], initial: 0.001s}")
    fail(taken(), "exit")
    work()
    due_now()
    work()
    second = taken()
    assert (second.attempt, second.spec["key"]) == (2, f"{again}:fix:1")
    fail(second, "exit")
    assert error_of(again)["message"] == "It broke."
    assert StepRun.objects.get(run=again).attempt == 2


def test_the_runner_s_word_on_retrying_counts(database: str) -> None:
    run = started(step="retry: {max_attempts: 5}")
    fail(taken(), "network", retry=False)
    assert error_of(run)["class"] == "network"


def test_a_second_attempt_may_succeed(database: str) -> None:
    run = started(step="retry: {max_attempts: 2, initial: 0.001s}")
    fail(taken(), "network")
    work()
    due_now()
    work()
    complete(taken(), "second")
    assert of_run(run).output == "second"


def test_rounds_of_an_until_are_jobs_with_keys_of_their_own(database: str) -> None:
    run = started(step="until: {condition: '${{ steps.fix.output.result == 2 }}', every: 1s, max_rounds: 5}")
    complete(taken(), 1)
    who = runner()

    def next_round() -> Job | None:
        work()
        return claims.claim_job(runner=who)

    job = wait_until(next_round)
    assert job.spec["key"] == f"{run}:fix:2"
    complete(job, 2)
    assert of_run(run).output == 2


def test_an_output_that_breaks_the_schema_is_refused_and_the_job_goes_on(database: str) -> None:
    run = started(job="schema: {type: object, required: [patch]}")
    job = taken()
    with pytest.raises(BadInput) as raised:
        complete(job, {"path": "x"})
    assert raised.value.stable_code == "output_schema"
    assert Job.objects.get().state == "claimed"
    complete(job, {"patch": "x"})
    assert of_run(run).status == "succeeded"


def test_what_the_step_promises_of_its_output_holds_of_large_ones_too(database: str) -> None:
    run = started(step="output: {type: object, properties: {result: {maxLength: 5}}}")
    complete(taken(), "x" * 200_000)
    assert error_of(run)["class"] == "contract"
    large = started()
    complete(taken(), "x" * 200_000)
    work()
    assert StepRun.objects.get(run=large).output["$res"].startswith("res://")
    check_fold(large)


def test_items_of_a_fan_out_are_jobs_of_their_own(database: str) -> None:
    run = begin(make_flow("flow: many\nsteps:\n  - id: one\n    for_each: {items: [1, 2, 3]}\n"
                          "    job: {labels: [linux], input: '${{ item }}'}\n"
                          "output: '${{ steps.one.output.map(o, o.result) }}'\n"))  # fmt: skip
    work()
    who = runner()
    for _ in range(3):
        job = taken(who)
        complete(job, job.spec["input"] * 10)
    assert of_run(run).output == [10, 20, 30]


# -- fences and repeats -------------------------------------------------------------------------------------------
def test_a_repeat_gets_the_same_answer_and_a_late_one_a_conflict(database: str) -> None:
    run = started()
    first = taken(runner("one"))
    over(first)
    second = taken(runner("two"))
    with pytest.raises(Conflict) as raised:
        complete(first, "old", fence=1)
    assert raised.value.stable_code == "old_fence"
    complete(second, "new")
    assert complete(second, "newer") == {"state": "done", "duplicate": True}
    assert of_run(run).output == "new"
    with pytest.raises(Gone):
        beat(second)


def test_another_token_s_runner_cannot_speak_of_a_job(database: str) -> None:
    started()
    job = taken()
    with pytest.raises(Conflict):
        reports.complete_job(token=token_for(), job_id=job.pk, fence=1, output=1)
    with pytest.raises(NotFound):
        reports.complete_job(token=token_for("payments"), job_id=job.pk, fence=1, output=1)


@pytest.mark.parametrize("fence", [0, 2, 99])
def test_a_wrong_fence_changes_nothing(database: str, fence: int) -> None:
    started()
    job = taken()
    with pytest.raises(Conflict):
        complete(job, 1, fence=fence)
    with pytest.raises(Conflict):
        logs.append(job=job, fence=fence, offset=0, data=b"x")
    with pytest.raises(Conflict):
        results.keep_artifact(job=job, fence=fence, name="a", content_type="", chunks=[b"x"])
    assert Job.objects.get().state == "claimed"


def test_of_many_runners_that_race_for_one_job_one_gets_it(database: str) -> None:
    started()
    runners = [runner(f"r{n}") for n in range(6)]
    found: list[str] = []
    gate = threading.Barrier(6)

    def race(who: Runner) -> None:
        gate.wait()
        try:
            for _ in range(20):  # one whose run was locked at that moment is passed over
                job = claims.claim_job(runner=who)
                if job is not None:
                    found.append(job.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=race, args=(who,)) for who in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert Job.objects.get().fence == 1


# -- leases ---------------------------------------------------------------------------------------------------------
def test_a_lost_job_goes_to_another_runner_with_the_same_key(database: str) -> None:
    run = started()
    job = taken(runner("one"))
    key = job.spec["key"]
    over(job)
    assert (job.state, job.takeovers) == ("queued", 1)
    other = taken(runner("two"))
    assert (other.pk, other.fence, other.spec["key"]) == (job.pk, 2, key)
    complete(other, "done")
    assert of_run(run).status == "succeeded"


def test_a_heartbeat_keeps_the_job(database: str) -> None:
    started()
    job = taken()
    Job.objects.update(lease_until=clock.now() - 1)
    assert beat(job) is False
    claims.expire(clock.now())
    assert Job.objects.get().state == "claimed"


def test_after_too_many_takeovers_it_is_lost(database: str) -> None:
    run = started(job="max_takeovers: 1")
    over(taken())
    job = taken()
    over(job)
    assert job.state == "lost"
    error = error_of(run)
    assert error["class"] == "lost" and "2 runners" in error["message"]


def test_an_irreversible_job_is_never_taken_over_and_a_person_must_say(database: str) -> None:
    run = started(step="effect: once")
    job = taken()
    over(job)
    assert job.state == "lost"
    work()
    assert StepRun.objects.get(run=run).status == "unknown"
    check_fold(run)


# -- pause, cancel, time -------------------------------------------------------------------------------------------
def test_a_paused_run_s_jobs_are_not_claimed_and_results_wait_for_its_resume(database: str) -> None:
    run = started()
    controls.pause_run(actor=SYSTEM, run_id=run, reason="lunch")
    assert claims.claim_job(runner=runner()) is None
    controls.resume_run(actor=SYSTEM, run_id=run)
    job = taken()
    controls.pause_run(actor=SYSTEM, run_id=run, reason="again")
    complete(job, "meanwhile")
    work()
    assert Run.objects.get(pk=run).status == "paused"
    controls.resume_run(actor=SYSTEM, run_id=run)
    assert of_run(run).output == "meanwhile"


def test_cancelling_a_run_takes_its_queued_job_away_and_tells_the_runner_of_a_claimed_one(database: str) -> None:
    queued = started()
    actions.cancel_run(actor=SYSTEM, run_id=queued, reason="no")
    work()
    assert Job.objects.get().state == "cancelled"
    assert claims.claim_job(runner=runner()) is None
    run = started()
    job = taken()
    actions.cancel_run(actor=SYSTEM, run_id=run, reason="no")
    assert of_run(run).status == "cancelled"
    assert beat(job) is True
    assert fail(job, "cancelled")["state"] == "cancelled"
    assert Run.objects.get(pk=run).status == "cancelled"


def test_a_cancelled_job_whose_runner_died_ends_with_its_lease(database: str) -> None:
    run = started()
    job = taken()
    actions.cancel_run(actor=SYSTEM, run_id=run, reason="no")
    work()
    over(job)
    assert job.state == "cancelled"


def test_when_its_time_is_over_the_step_fails_and_the_runner_is_told(database: str) -> None:
    run = started(job="timeout: 10s")
    job = taken()
    due_now(Work.Kind.TIMER)
    work()
    assert error_of(run)["class"] == "expired"
    assert beat(job) is True
    assert complete(job, "late")["state"] == "cancelled"
    assert of_run(run).status == "failed"


def test_a_result_in_time_stands_although_the_timer_is_looked_at_first(database: str) -> None:
    run = started(job="timeout: 10s")
    complete(taken(), "in time")
    due_now(Work.Kind.TIMER)
    assert of_run(run).output == "in time"


# -- logs and files -------------------------------------------------------------------------------------------------
def test_pieces_of_a_log_come_once_are_shown_and_become_a_resource(database: str) -> None:
    run = started()
    job = taken()
    assert logs.append(job=job, fence=1, offset=0, data=b"one\n") == {"size": 4, "full": False}
    assert logs.append(job=job, fence=1, offset=0, data=b"one\n")["size"] == 4
    with pytest.raises(Conflict) as raised:
        logs.append(job=job, fence=1, offset=9, data=b"three\n")
    assert raised.value.details == {"size": 4}
    logs.append(job=job, fence=1, offset=4, data=b"two \xff\n")
    beat(job, message="half", percent=50.0)
    live = StepRun.objects.get(run=run).live
    assert live["tail"].startswith("one\ntwo ") and live["progress"]["percent"] == 50.0
    complete(job, None)
    of_run(run)
    log = artifacts.get(StepRun.objects.get(run=run).output["log"]["$res"])
    assert artifacts.read(log) == b"one\ntwo \xff\n" and log.run_id == run
    logs.prune(clock.now() + 3600)
    assert not JobLog.objects.exists()


def test_a_log_is_bounded(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG", 10)
    started()
    job = taken()
    with pytest.raises(TooLarge):
        logs.append(job=job, fence=1, offset=0, data=b"x" * (logs.MAX_PIECE + 1))
    assert logs.append(job=job, fence=1, offset=0, data=b"x" * 12) == {"size": 12, "full": True}
    assert logs.append(job=job, fence=1, offset=12, data=b"y" * 12) == {"size": 12, "full": True}
    assert bytes(JobLog.objects.get().data).startswith(b"x" * 10 + b"\n[cut here")


def test_files_left_by_a_job_are_resources_of_its_run_and_named_in_the_output(database: str) -> None:
    run = started()
    job = taken()
    made = results.keep_artifact(job=job, fence=1, name="a.txt", content_type="text/plain", chunks=[b"x", b"y"])
    same = results.keep_artifact(job=job, fence=1, name="a.txt", content_type="text/plain", chunks=[b"xy"])
    assert made["$res"] == same["$res"]
    with pytest.raises(BadInput):
        results.keep_artifact(job=job, fence=1, name="../a", content_type="", chunks=[b"x"])
    complete(job, None)
    of_run(run)
    kept = artifacts.get(StepRun.objects.get(run=run).output["artifacts"]["a.txt"]["$res"])
    assert (kept.run_id, kept.step, artifacts.read(kept)) == (run, "fix", b"xy")


def test_a_runner_reads_the_files_its_job_names_and_no_others(database: str) -> None:
    given = artifacts.store(b"data", content_type="text/plain")
    started(job=f'files: {{data.txt: "res://{given.pk}"}}')
    job = taken()
    assert results.file_of(job, 1, "data.txt").pk == given.pk
    for fence, name in ((1, "other"), (2, "data.txt")):
        with pytest.raises(OrchestraError):
            results.file_of(job, fence, name)


def test_a_file_that_is_gone_fails_the_step(database: str) -> None:
    run = started(job='files: {data.txt: "res://01nothing"}')
    assert error_of(run)["class"] == "refused"
    assert not WaitToken.objects.exists()
