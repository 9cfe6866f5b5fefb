"""Workers come while work waits and go when it is calm: the decision as a table, then the whole program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.supervisor.config import CannotStart, read_config
from orchestra.supervisor.pool import Pool, read_signal
from orchestra.supervisor.scale import Policy, Signal, Size, clusters, resize, wanted

POLICY = Policy(low=2, high=7, step=2, up=5, down=60)
BUSY, CALM = Signal(age=3.0, ready=9, running=2), Signal()
LONG_AGO = float("-inf")


@pytest.mark.parametrize(
    ("size", "signal", "now", "after"),
    [
        # work waits: two more, then nothing for five seconds, then up to the bound
        (Size(), BUSY, 100.0, Size(2, 100.0)),
        (Size(2, 100.0), BUSY, 104.9, Size(2, 100.0)),
        (Size(2, 100.0), BUSY, 105.0, Size(4, 105.0)),
        (Size(4, 100.0), BUSY, 200.0, Size(5, 200.0)),
        (Size(5, 100.0), BUSY, 200.0, Size(5, 100.0)),
        # not late yet, or nothing there that a worker could take
        (Size(), Signal(1.9, 9, 2), 100.0, Size()),
        (Size(), Signal(9.0, 0, 2), 100.0, Size()),
        # calm: a minute later the youngest cluster goes
        (Size(5, 0.0), CALM, 100.0, Size(5, 0.0, 100.0)),
        (Size(5, 0.0, 100.0), CALM, 159.9, Size(5, 0.0, 100.0)),
        (Size(5, 0.0, 100.0), CALM, 160.0, Size(4, 160.0)),
        (Size(4, 0.0, 100.0), CALM, 160.0, Size(2, 160.0)),
        (Size(2, 0.0, 100.0), CALM, 160.0, Size(0, 160.0)),
        (Size(0, 0.0, None), CALM, 160.0, Size(0, 0.0)),
        # all are needed, or something waits a little: not calm
        (Size(4, 0.0, 100.0), Signal(0.0, 0, 5), 160.0, Size(4, 0.0)),
        (Size(4, 0.0, 100.0), Signal(1.0, 1, 0), 160.0, Size(4, 0.0)),
        (Size(4, 0.0, 100.0), BUSY, 160.0, Size(5, 160.0)),
    ],
)
def test_the_number_of_workers_follows_the_oldest_age(size: Size, signal: Signal, now: float, after: Size) -> None:
    assert resize(POLICY, size, signal, now) == after


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50), st.integers(0, 20), st.floats(0.1, 100)), max_size=60),
    st.integers(1, 9), st.integers(0, 30), st.integers(1, 9),
)  # fmt: skip
def test_the_bounds_and_the_cooldown_hold_whatever_comes(looks: Any, low: int, more: int, step: int) -> None:
    policy = Policy(low, low + more, step, up=5, down=60)
    size, now = Size(), 0.0
    for age, ready, running, passed in looks:
        now += passed
        after = resize(policy, size, Signal(age, ready, running), now)
        assert 0 <= after.extra <= more and sum(clusters(policy, after)) == after.extra
        if after.extra != size.extra:
            assert now - size.changed_at >= (policy.up if after.extra > size.extra else policy.down)
        size = after


@pytest.mark.parametrize(
    ("workers", "signal", "would_do"),
    [(0, BUSY, 1), (2, BUSY, 4), (4, Signal(3.0, 1, 4), 5), (4, CALM, 1), (4, Signal(1.0, 1, 4), 4),
     (4, Signal(0.1, 0, 2), 2)],
)  # fmt: skip
def test_an_autoscaler_outside_is_told_how_many_would_do(workers: int, signal: Signal, would_do: int) -> None:
    assert wanted(workers, signal) == would_do


def test_what_the_keeper_wrote_is_read_for_the_queues_of_this_host(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    assert read_signal(file, ("default",), 100.0) is None
    queue = {"ready": 3, "running": 1, "oldest_age": 4.0}
    other = {"name": "gpu", "ready": 9, "running": 9, "oldest_age": 99.0}
    file.write_text(json.dumps({"at": 100.0, "queues": [{"name": "default", **queue}, other]}))
    assert read_signal(file, ("default",), 101.0) == Signal(4.0, 3, 1)
    assert read_signal(file, ("default", "gpu"), 101.0) == Signal(99.0, 12, 10)
    assert read_signal(file, ("default",), 200.0) is None  # old news
    file.write_text("{")
    assert read_signal(file, ("default",), 101.0) is None


class Dummy:
    """A child of the pool that ends when it is asked to, or only when it is killed."""

    def __init__(self, name: str, log: list[str], stubborn: bool) -> None:
        self.name, self.log, self.stubborn = name, log, stubborn
        self.process: object | None = object()
        self.spec = self.console = self

    def child(self, name: str, said: str) -> None:
        self.log.append(f"{name} {said.split()[0]}")

    def ask_to_stop(self) -> None:
        self.process = self.process if self.stubborn else None

    def reap(self) -> int | None:
        return None if self.process is not None else 0

    def kill_group(self) -> None:
        self.process = None


@pytest.mark.parametrize("stubborn", [False, True])
def test_clusters_are_started_and_asked_to_drain_and_killed_when_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    log: list[str] = []
    signals = iter([BUSY, BUSY, CALM, CALM, CALM, CALM])
    monkeypatch.setattr("orchestra.supervisor.pool.read_signal", lambda *_: next(signals))
    policy = Policy(1, 3, 1, up=1, down=2)

    def start(name: str, workers: int) -> Any:
        log.append(f"{name} +{workers}")
        return Dummy(name, log, stubborn)

    pool = Pool(policy, tmp_path / "load.json", ("default",), start)
    for now in (10.0, 12.0, 14.0, 17.0, 20.0, 23.0):
        pool.tend(now, grace=2.0)
    assert log[:4] == ["work-2 +1", "work-3 +1", "work-3 is", *(["work-3 did"] if stubborn else ["work-2 is"])]
    assert not pool.children and [child.spec.name for child in pool.everybody()] == ["work-2"]  # asked just now


@pytest.mark.parametrize(
    ("env", "said"),
    [({"WORKERS": "4", "MAX_WORKERS": "2"}, "MAX_WORKERS is 2"), ({"QUEUES": "a,B b"}, "QUEUES has 'B b'"),
     ({"MIN_WORKERS": "0"}, "MIN_WORKERS must be")],
)  # fmt: skip
def test_nonsense_is_named(env: dict[str, str], said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        read_config(env, root=Path("/r"), cores=2)


def test_without_a_maximum_the_number_of_workers_is_fixed() -> None:
    assert not read_config({"WORKERS": "3"}, root=Path("/r"), cores=2).policy.moves
    config = read_config({"MIN_WORKERS": "2", "MAX_WORKERS": "8", "QUEUES": "gpu, default"}, root=Path("/r"), cores=2)
    assert (config.workers, config.policy.high, config.policy.moves, config.queues) == (2, 8, True, ("gpu", "default"))
