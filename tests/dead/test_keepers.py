"""Real keepers work a replay off together, and one killed in the middle of it repeats nothing and loses nothing."""

from __future__ import annotations

from resources.ids import ulid
from runs import clock
from runs.dead.letters import Filter
from runs.dead.replays import start_replay
from runs.models import ReplayBatch, Run
from tests.dead.story import ON_POSTGRES, breaking
from tests.engine.cluster import PATIENCE, SYSTEM, wait_until
from tests.outbound.test_keepers import keeper

RUNS = 60


@ON_POSTGRES
def test_a_keeper_killed_in_the_middle_of_a_replay_repeats_nothing(database: str) -> None:
    flow, now = breaking(), clock.now()
    common = {"flow": flow, "release": flow.live, "status": "failed", "error": {"class": "timeout", "message": "x"}}
    Run.objects.bulk_create(
        [
            Run(id=ulid(now), input={"n": n}, created_at=now, ended_at=now, dead_at=now, version=1, **common)
            for n in range(RUNS)
        ]
    )
    batch = start_replay(actor=SYSTEM, asked=Filter(), mode="replay", reason="mended", rate=1200)
    first, second = keeper(database), keeper(database)

    def replayed() -> int:
        batch.refresh_from_db()
        return batch.done

    try:
        wait_until(lambda: replayed() > 10)
        first.kill()
        first.wait()
        assert replayed() < RUNS
        wait_until(lambda: replayed() == RUNS and batch.status == ReplayBatch.Status.DONE)
    finally:
        first.kill()
        second.terminate()
    assert second.wait(PATIENCE) == 0 and batch.failed == 0
    origins = sorted(run.trigger["of"] for run in Run.objects.filter(dead_at=None, status="queued"))
    assert len(origins) == RUNS == len(set(origins))
