"""The faults: a seeded plan, and the hands that carry it out."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.hosts import Host, signal_process
from tests.chaos.outside import Crew
from tests.chaos.servers import Postgres, Server

#: kind -> weight in the plan
EVERYWHERE = {
    "kill worker": 48, "kill pusher": 3, "kill sentinel": 2, "kill cluster": 2, "kill main": 2, "kill web": 5,
    "kill keeper": 3, "stop worker": 6, "host clock": 3, "world fails": 5, "world is slow": 4, "world drops": 4,
    "redis flushed": 3, "redis stopped": 2,
}  # fmt: skip
#: what may keep a killed worker's attempt from being taken over at once
_HINDERS = (
    "kill pusher",
    "kill sentinel",
    "kill main",
    "kill cluster",
    "stop worker",
    "host clock",
    "database",
    "conn",
)
ON_POSTGRES = {"database crashes": 2, "connections cut": 6, "database clock": 3}
ON_SQLITE = {"database locked": 6}
#: ms an answer of a slow world takes; an attempt may take 5 s
SLOW = [500, 1500, 6000]


@dataclass(frozen=True, slots=True)
class Fault:
    at: float  # seconds from the beginning
    kind: str


def plan(seed: int, count: int, every: float, *, postgres: bool, only: Sequence[str] = ()) -> list[Fault]:
    """`count` faults, `every` seconds apart on average; of the kinds in `only`, where it names some. Pure."""
    dice = random.Random(f"faults:{seed}")
    weights = EVERYWHERE | (ON_POSTGRES if postgres else ON_SQLITE)
    weights = {kind: weight for kind, weight in weights.items() if kind in only or not only}
    at, found = 1.0, []
    for _ in range(count):
        at += dice.expovariate(1 / every)
        found.append(Fault(at, dice.choices(list(weights), list(weights.values()))[0]))
    return found


@dataclass
class Kill:
    """A worker killed while it held these attempts: how long until somebody else knew?"""

    at: float
    held: Sequence[tuple[str, str, int]]  # (run, step, item)


@dataclass(frozen=True, slots=True)
class Span:
    """Something was wrong from `begin` to `end` (epoch seconds)."""

    begin: float
    end: float
    kind: str


@dataclass
class Hands:
    """Carries faults out. `holders()` -> {process id: [(run, step, item)]} of attempts under way."""

    seed: int
    hosts: Sequence[Host]
    crew: Crew
    world: str
    lease: float
    holders: Callable[[], dict[int, list[tuple[str, str, int]]]]
    database: Postgres | Path
    redis: Server | None = None
    done: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)  # there was nobody to hit
    kills: list[Kill] = field(default_factory=list)
    disturbances: list[Span] = field(default_factory=list)  # what may hinder a takeover, and for how long
    clocks_wrong: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"hands:{self.seed}")
        self.database_down = threading.Event()
        self.lasts = 0.0  # seconds that what was just hit stays wrong

    def commit(self, fault: Fault) -> None:
        began, self.lasts = time.time(), 0.0
        hit = getattr(self, "_" + fault.kind.replace(" ", "_"))()
        table = self.missed if hit is False else self.done
        table[fault.kind] = table.get(fault.kind, 0) + 1
        if hit is not False and fault.kind.startswith(_HINDERS):
            self.disturbances.append(Span(began, time.time() + self.lasts, fault.kind))

    def _host(self) -> Host:
        return self.dice.choice(self.hosts)

    # -- processes ---------------------------------------------------------------------------------------------
    def _kill_worker(self) -> bool:
        """One that is in the middle of an attempt, where there is one."""
        mine = {pid for host in self.hosts for pid in host.pool()["workers"]}
        busy = {pid: held for pid, held in self.holders().items() if pid in mine}
        victim = self.dice.choice(list(busy) or list(mine) or [0])
        at = time.time()
        if not signal_process(victim, signal.SIGKILL):
            return False
        if victim in busy and not self.clocks_wrong:
            self.kills.append(Kill(at, busy[victim]))
        return True

    def _kill_pusher(self) -> bool:
        return signal_process(self._host().pool()["pusher"], signal.SIGKILL)

    def _kill_sentinel(self) -> bool:
        return signal_process(self._host().pool()["sentinel"], signal.SIGKILL)

    def _kill_main(self) -> bool:
        return signal_process(self._host().part("work"), signal.SIGKILL)

    def _kill_cluster(self) -> bool:
        return signal_process(self._host().part("work"), signal.SIGKILL, group=True)

    def _kill_web(self) -> bool:
        return signal_process(self._host().part("web"), signal.SIGKILL)

    def _kill_keeper(self) -> bool:
        return signal_process(self._host().part("keep"), signal.SIGKILL)

    def _stop_worker(self) -> bool:
        """Frozen past its lease, then woken: a zombie that believes its attempt is its own."""
        host = self._host()
        workers = [p for p in host.pool()["workers"] if p not in host.frozen]
        busy = [p for p in self.holders() if p in workers]
        if not workers or len(host.frozen) > 1:
            return False
        victim = self.dice.choice(busy or workers)
        if not signal_process(victim, signal.SIGSTOP):
            return False
        host.frozen.add(victim)

        def wake() -> None:
            signal_process(victim, signal.SIGCONT)
            host.frozen.discard(victim)

        self.lasts = self.lease + self.dice.uniform(0.5, 2.0)
        self.crew.later(self.lasts, wake)
        return True

    # -- clocks --------------------------------------------------------------------------------------------------
    def _host_clock(self) -> bool:
        host = self._host()
        host.clock.set(self.dice.choice([-40.0, -7.0, 7.0, 40.0]))
        self.clocks_wrong = True

        def right() -> None:
            host.clock.set(0.0)
            self.clocks_wrong = any(h.clock.offset for h in self.hosts)

        self.lasts = self.dice.uniform(1.0, 4.0)
        self.crew.later(self.lasts, right)
        return True

    def _database_clock(self) -> bool:
        assert isinstance(self.database, Postgres)
        database = self.database
        seconds = self.dice.choice([-20.0, 20.0, 60.0])
        self.clocks_wrong = True

        def set_to(value: float) -> None:
            with contextlib.suppress(Exception):  # down just now: its clock is right again when it is back
                database.admin(f"UPDATE chaos.clock SET seconds = {value}", "orchestra")

        def right() -> None:
            set_to(0.0)
            self.clocks_wrong = any(h.clock.offset for h in self.hosts)

        set_to(seconds)
        self.lasts = self.dice.uniform(1.0, 3.0)
        self.crew.later(self.lasts, right)
        return True

    # -- the database, Redis ---------------------------------------------------------------------------------------
    def _database_crashes(self) -> bool:
        assert isinstance(self.database, Postgres)
        self.database_down.set()
        try:
            self.database.stop()
            time.sleep(self.dice.uniform(0.2, 2.0))
            self.database.start()
            self.database.wait()
        finally:
            self.database_down.clear()
        return True

    def _connections_cut(self) -> bool:
        assert isinstance(self.database, Postgres)
        share = self.dice.choice(["true", "random() < 0.5"])
        with contextlib.suppress(Exception):
            self.database.admin(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'orchestra' "
                f"AND pid <> pg_backend_pid() AND {share}"
            )
        return True

    def _database_locked(self) -> bool:
        """Somebody else holds SQLite's write lock for a while."""
        assert isinstance(self.database, Path)
        connection = sqlite3.connect(self.database, timeout=5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(self.dice.uniform(0.3, 2.0))
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def _redis_flushed(self) -> bool:
        if self.redis is None:
            return False
        import redis

        with contextlib.suppress(redis.RedisError):
            redis.Redis(port=self.redis.port).flushall()
        return True

    def _redis_stopped(self) -> bool:
        if self.redis is None:
            return False
        server = self.redis
        server.stop(signal.SIGKILL)
        self.crew.later(self.dice.uniform(0.5, 3.0), server.start)
        return True

    # -- the outside -----------------------------------------------------------------------------------------------
    def _world_fails(self) -> bool:
        return self._world({"error_rate": 0.6})

    def _world_is_slow(self) -> bool:
        """Some answers come after the attempt's timeout."""
        return self._world({"delay_ms": self.dice.choice(SLOW)})

    def _world_drops(self) -> bool:
        return self._world({"drop_rate": 0.3})

    def _world(self, knobs: dict[str, Any]) -> bool:
        turn(self.world, knobs)
        self.crew.later(self.dice.uniform(0.5, 3.0), lambda: turn(self.world, {}))
        return True

    def heal(self) -> None:
        """Everything is as it should be again."""
        turn(self.world, {})
        for host in self.hosts:
            host.clock.set(0.0)
            host.thaw()
        if isinstance(self.database, Postgres):
            self.database.admin("UPDATE chaos.clock SET seconds = 0", "orchestra")


def turn(world: str, knobs: dict[str, Any]) -> None:
    body = json.dumps({"seed": 1, **knobs}).encode()
    request = urllib.request.Request(f"{world}/knobs", body, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
