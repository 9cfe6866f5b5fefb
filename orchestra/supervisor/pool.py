"""Clusters of workers beyond the first: started while work waits, stopped (they drain) when it is calm again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from orchestra.supervisor.child import Child
from orchestra.supervisor.scale import Policy, Signal, Size, clusters, resize

#: seconds between two looks
EVERY = 1.0
#: what the keeper wrote longer ago than this says nothing
FRESH = 10.0


class Pool:
    """`start(name, workers)` makes a running child; `children` are kept alive by the supervisor, `leaving` are not."""

    def __init__(self, policy: Policy, file: Path, queues: tuple[str, ...], start: Callable[[str, int], Child]) -> None:
        self.policy, self.file, self.queues, self.start = policy, file, queues, start
        self.size = Size()
        self.children: list[Child] = []
        self.leaving: list[tuple[Child, float]] = []  # and when its time is over
        self.next_look = 0.0

    def tend(self, now: float, grace: float) -> None:
        """Look at the load, start or stop a cluster, sweep up what has ended. `now`: monotonic seconds."""
        self._sweep(now)
        if not self.policy.moves or now < self.next_look:
            return
        self.next_look = now + EVERY
        signal = read_signal(self.file, self.queues, time.time())
        if signal is None:
            return
        self.size = resize(self.policy, self.size, signal, now)
        sizes = clusters(self.policy, self.size)
        while len(self.children) > len(sizes):
            child = self.children.pop()
            child.console.child(child.spec.name, "is not needed any more; it finishes what it has begun")
            child.ask_to_stop()
            self.leaving.append((child, now + grace))
        for n in range(len(self.children), len(sizes)):
            self.children.append(self.start(self._free_name(), sizes[n]))

    def _free_name(self) -> str:
        taken = {child.spec.name for child in [*self.children, *(leaving for leaving, _ in self.leaving)]}
        return next(name for n in range(2, 1000) if (name := f"work-{n}") not in taken)

    def _sweep(self, now: float) -> None:
        still = []
        for child, end in self.leaving:
            if child.process is None or child.reap() is not None:
                continue
            if now > end:
                child.console.child(child.spec.name, "did not stop in time; killed")
                child.kill_group()
            still.append((child, end))
        self.leaving = still

    def everybody(self) -> list[Child]:
        return [*self.children, *(child for child, _ in self.leaving)]

    def due(self, now: float) -> list[float]:
        """When to look again; nothing where there is nothing to look after."""
        if self.policy.moves:
            return [self.next_look]
        return [now + EVERY] if self.leaving else []


def read_signal(file: Path, queues: tuple[str, ...], now: float) -> Signal | None:
    """What the keeper of this host wrote: {"at", "queues": [{"name", "ready", "running", "oldest_age"}]}, or None."""
    try:
        data = json.loads(file.read_text())
        if abs(now - float(data["at"])) > FRESH:
            return None
        mine = [q for q in data["queues"] if q["name"] in queues]
        ages = [float(q["oldest_age"]) for q in mine]
        return Signal(max(ages, default=0.0), sum(q["ready"] for q in mine), sum(q["running"] for q in mine))
    except (OSError, ValueError, KeyError, TypeError):
        return None
