"""Whom the watcher wakes."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from runs import bell, queue, watch
from runs.watch import Watcher
from tests.engine.cluster import wait_until


class FakeWorker:
    """A worker's end of the socket."""

    def __init__(self, watcher: Watcher, opened: contextlib.ExitStack) -> None:
        self.socket = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.socket.connect(str(watch.address(watcher.cluster)))
        self.socket.sendall(json.dumps({"owner": secrets.token_hex(4)}).encode() + b"\n")
        watcher.turn()
        self.socket.sendall(b"i")
        self.socket.setblocking(False)
        self.told = b""

    def heard(self) -> bytes:
        """What it was told since it was asked last, but for which steps it takes."""
        self.listen()
        told, self.told = self.told, b""
        return told

    def listen(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            self.told += self.socket.recv(64).replace(b"r", b"")
        return self.told


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is due, as the watcher sees it."""
    times: list[float] = []
    monkeypatch.setattr(queue, "look", lambda limit: times[:limit])
    return times


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def watcher(database: str, due: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    monkeypatch.setattr(bell, "_looked_at", -1.0)  # who listens is known for a second: the watcher of the test before
    made = Watcher(f"t{secrets.token_hex(4)}")
    yield made
    made.say_goodbye()
    made.stopped_mark.unlink()
    for link in made.links.values():
        link.socket.close()
    made.server.close()
    if made.listen is not None:
        made.listen.close()


def turns(watcher: Watcher, until: Callable[[], bool] = lambda: True, seconds: float = 0.1) -> None:
    """Until that is so, however slow the machine, and then for a moment in which more would show."""

    def turned() -> bool:
        watcher.turn()
        return until()

    wait_until(turned)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        watcher.turn()


def test_a_bell_wakes_one_worker_at_once_and_further_ones_for_what_is_due(
    watcher: Watcher, due: list[float], opened: contextlib.ExitStack
) -> None:
    workers = [FakeWorker(watcher, opened) for _ in range(4)]
    turns(watcher, lambda: all(link.idle for link in watcher.links.values()))
    assert [w.heard() for w in workers] == [b""] * 4
    bell.ring(bell.WORK)
    turns(watcher, lambda: any(w.listen() for w in workers))
    assert sorted(w.heard() for w in workers) == [b"", b"", b"", b"w"]
    due += [1.0, 2.0]
    bell.ring(bell.WORK)
    turns(watcher, lambda: sum(bool(w.listen()) for w in workers) == 3)
    assert sum(w.heard() == b"w" for w in workers) == 3 and not any(link.idle for link in watcher.links.values())


def test_a_bell_while_all_are_busy_wakes_whoever_is_idle_next(
    watcher: Watcher, due: list[float], opened: contextlib.ExitStack
) -> None:
    worker, other = FakeWorker(watcher, opened), FakeWorker(watcher, opened)  # one of two takes no long steps
    turns(watcher, lambda: all(link.idle for link in watcher.links.values()))
    due += [1.0, 1.0]
    bell.ring(bell.WORK)
    turns(watcher, lambda: bool(worker.listen() and other.listen()))
    assert (worker.heard(), other.heard()) == (b"w", b"w")
    bell.ring(bell.WORK)
    turns(watcher)
    worker.socket.sendall(b"i")
    turns(watcher, lambda: bool(worker.listen()))
    assert (worker.heard(), other.heard()) == (b"w", b"")
