"""One campaign on one database: hosts, load, faults, an end in peace, and the checks. Prints one line of JSON."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import secrets
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import services
from tests.chaos import servers
from tests.chaos.catalog import HOOK_SECRET, SHARES, SOURCES
from tests.chaos.faults import Fault, Hands, plan
from tests.chaos.hosts import Host, make_host
from tests.chaos.load import Load
from tests.chaos.outside import Crew, Outside

#: runs that have not ended, at most: the machine has two cores
IN_FLIGHT = 150
#: seconds everything has to come to its end once nothing is broken any more
PEACE = 180.0


def main() -> int:
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="orchestra-chaos-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        found = Campaign(asked, folder, stack).go()
    print(json.dumps(found))
    return 1 if found["breaches"] else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=["sqlite", "postgres"], required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--faults", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--only", default="", help="kinds of faults, separated by commas")
    parser.add_argument("--flows", default="", help="flows to run, separated by commas")
    parser.add_argument("--ms", type=int, help="how long each answer of the demo world takes; else it varies")
    parser.add_argument("--pauses", type=float, default=0.06, help="share of the runs that somebody pauses")
    return parser.parse_args()


class Campaign:
    def __init__(self, asked: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> None:
        self.asked, self.folder, self.stack = asked, folder, stack
        self._looked, self._count = 0.0, 0

    # -- setting the scene ---------------------------------------------------------------------------------------
    def go(self) -> dict[str, Any]:
        self.world = self.stack.enter_context(services.world(self.folder / "world"))
        self.redis = servers.redis(self.folder / "redis") if self.asked.database == "postgres" else None
        if self.redis is not None:
            self.stack.callback(self.redis.stop)
        self._make_database()
        self._connect()
        hosts = [self._host(name) for name in ("a", "b")]
        hosts[1].stack.env["PUBLIC_URL"] = hosts[0].url
        for host in hosts:
            self.stack.enter_context(host.stack)
        self._seed(hosts)
        try:
            return self._campaign(hosts)
        finally:
            for host in hosts:
                host.thaw()

    def _make_database(self) -> None:
        if self.asked.database == "sqlite":
            self.database: servers.Postgres | Path = self.folder / "orchestra.sqlite3"
            self.url = f"sqlite:///{self.database}"
            return
        self.database = servers.postgres(self.folder / "postgres")
        self.stack.callback(self.database.stop)
        self.url = self.database.url("orchestra")

    def _connect(self) -> None:
        """This process reads what is in the database; everything it does goes through HTTP."""
        keys = {"k1": base64.b64encode(secrets.token_bytes(32)).decode()}
        self.env = {"SECRET_KEY": secrets.token_urlsafe(32), "ENCRYPTION_KEYS": json.dumps(keys)}
        (self.folder / "driver").mkdir()
        own = {"DJANGO_SETTINGS_MODULE": "orchestra.settings", "DATABASE_URL": self.url}
        os.environ.update({**self.env, **own, "DATA_DIR": str(self.folder / "driver"), "DEMO": "0"})
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        if isinstance(self.database, servers.Postgres):
            self.database.admin(servers.CLOCK_SQL, "orchestra")

    def _host(self, name: str) -> Host:
        env = {**self.env, "LEASE_SECONDS": str(self.asked.lease), "LOG_LEVEL": "WARNING"}
        if self.redis is not None:
            env["REDIS_URL"] = f"redis://127.0.0.1:{self.redis.port}/0"
        if plant := os.environ.get("CHAOS_PLANT"):
            env["CHAOS_PLANT"] = plant
        host = make_host(name, self.folder, database_url=self.url, env=env, workers=self.asked.workers)
        host.stack.port = services.free_port()
        return host

    def _seed(self, hosts: list[Host]) -> None:
        from django.contrib.auth.models import User

        from flows.actions import create_flow, release_draft
        from resources import connections, tokens
        from resources.access import Actor
        from resources.models import Grant
        from resources.secrets import set_secret

        system = Actor.system("chaos")
        user = User.objects.create_user("reviewer", password=secrets.token_hex(8))
        for role in ("operator", "reviewer"):
            Grant.objects.create(user=user, folder="", role=role)
        set_secret(actor=system, name="chaos-hook", value=HOOK_SECRET)
        for name, honours in (("world", True), ("plain", False)):
            wanted = {"base_url": self.world, "allow_networks": ["127.0.0.0/8"], "honours_idempotency_key": honours}
            connections.create_connection(actor=system, name=name, kind="http", settings=wanted)
        for slug, source in SOURCES.items():
            create_flow(actor=system, source=source)
            release_draft(actor=system, slug=slug, version="1.0.0", notes="", live=True)
        _, self.token = tokens.create_token(actor=system, user=user, name="chaos")

    # -- the campaign --------------------------------------------------------------------------------------------
    def _campaign(self, hosts: list[Host]) -> dict[str, Any]:
        crew = Crew(24)
        self.outside = Outside([h.url for h in hosts], self.token)
        flows = [slug for slug in self.asked.flows.split(",") if slug]
        shares = {slug: share for slug, share in SHARES.items() if slug in flows or not flows}
        self.load = Load(
            self.outside, crew, self._callback_path, self.asked.seed, shares, self.asked.ms, self.asked.pauses
        )
        self.hands = Hands(
            self.asked.seed, hosts, crew, self.world, self.asked.lease, self._holders, self.database, self.redis
        )
        asked, on_postgres = self.asked, self.asked.database == "postgres"
        only = [kind for kind in asked.only.split(",") if kind]
        self.faults = plan(asked.seed, asked.faults, asked.every, postgres=on_postgres, only=only)
        self.over = threading.Event()
        inbox = threading.Thread(target=self._inbox, daemon=True)
        inbox.start()
        began = time.monotonic()
        self._attack(crew, self.faults)
        lasted = time.monotonic() - began
        self.hands.heal()
        peace = time.monotonic()
        self._wait_for_peace(crew)
        settled = time.monotonic() - peace
        self.over.set()
        inbox.join(60)
        crew.close()
        found = self._verdict(crew)
        return {**found, "attack_s": round(lasted, 1), "settled_s": round(settled, 1)}

    def _attack(self, crew: Crew, faults: list[Fault]) -> None:
        """Runs and faults side by side until both are through."""
        began, number = time.monotonic(), 0
        rate = self.asked.runs / max(1.0, faults[-1].at if faults else 1.0)
        pending = list(faults)
        shown = 0.0
        while number < self.asked.runs or pending:
            now = time.monotonic() - began
            while number < self.asked.runs and number < now * rate + 1 and self._unended() < IN_FLIGHT:
                crew.later(0, lambda n=number: self.load.start(n))
                number += 1
            if pending and pending[0].at <= now:
                self.hands.commit(pending.pop(0))
            if now - shown > 20:
                shown = now
                sys.stderr.write(f"[{now:.0f} s: {number} starts, {sum(self.hands.done.values())} faults]\n")
            time.sleep(0.02)

    def _unended(self) -> int:
        if time.monotonic() - self._looked > 0.5:
            from runs.models import Run

            self._looked = time.monotonic()
            # while the database is away nothing new is started
            self._count = int(self._read(lambda: Run.objects.filter(ended_at__isnull=True).count(), IN_FLIGHT))
        return self._count + len(self.load.crew.errands) // 4

    def _read(self, query: Callable[[], Any], otherwise: Any) -> Any:
        from django.db import DatabaseError, InterfaceError, connection

        try:
            return query()
        except (DatabaseError, InterfaceError):
            connection.close()
            return otherwise

    def _holders(self) -> dict[int, list[tuple[str, str, int]]]:
        from runs.models import Work

        found: dict[int, list[tuple[str, str, int]]] = {}
        rows = self._read(
            lambda: list(
                Work.objects.filter(kind="step", owner__contains=":").values_list("owner", "run_id", "step", "item")
            ),
            [],
        )
        for owner, run_id, step, item in rows:
            if step:
                found.setdefault(int(owner.rsplit(":", 2)[1]), []).append((run_id, step, item))
        return found

    def _callback_path(self, run_id: str, step: str) -> str:
        from runs import tokens

        index = ["ask", "answer", "rest", "act"].index(step)
        return f"/callbacks/{tokens.make(run_id, index, -1, 1)}"

    def _inbox(self) -> None:
        while not self.over.wait(0.3):
            try:
                self.load.decide_what_is_open()
            except AssertionError as error:
                self.load.findings.append(repr(error))

    def _wait_for_peace(self, crew: Crew) -> None:
        from runs.models import Run

        end = time.monotonic() + PEACE
        while time.monotonic() < end:
            left = self._read(lambda: Run.objects.filter(ended_at__isnull=True).count(), 1)
            if not left and crew.idle():
                return
            time.sleep(0.2)

    # -- the verdict -----------------------------------------------------------------------------------------------
    def _verdict(self, crew: Crew) -> dict[str, Any]:
        from runs.models import Run
        from tests.chaos import verify

        started = self.load.started
        runs = list(Run.objects.select_related("flow"))
        flows = {run.pk: run.flow.slug for run in runs}
        breaches = [*self.load.findings, *(f"errand: {error!r}" for error in crew.failed)]
        breaches += [f"lost: {run} is not there" for run in set(started) - {r.pk for r in runs}]
        breaches += [f"start: {r.pk} was never asked for" for r in runs if not verify.is_asked_for(r, started)]
        for run in runs:
            breaches += verify.breaches_of(run, flows[run.pk])
        with urllib.request.urlopen(f"{self.world}/effects", timeout=60) as answer:
            effects = json.load(answer)
        breaches += verify.effect_breaches(effects, flows)
        breaches += verify.leftovers()
        breaches += verify.schedule_breaches(runs)
        took = verify.recoveries(self.hands.kills, self.hands.disturbances)
        quiet = [one for one in took if not one.near]
        return {
            "database": self.asked.database, "seed": self.asked.seed, "lease_s": self.asked.lease,
            "runs": len(runs), "asked_for": len(started), "ended": dict(Counter(r.status for r in runs)),
            "waiting_for_a_person": sum(1 for r in runs if (r.error or {}).get("class") in verify.GAVE_UP),
            "faults": sum(self.hands.done.values()), "by_kind": dict(sorted(self.hands.done.items())),
            "missed": self.hands.missed, "effects": len(effects),
            "outside": {**self.load.counts, "requests tried again": self.outside.turned_away},
            "lost": sum(b.startswith("lost") for b in breaches),
            "duplicated_results": sum(b.startswith("result") for b in breaches),
            "duplicated_effects": sum(b.startswith(("effect", "irreversible", "unexplained")) for b in breaches),
            "folded_again": len(runs) - sum(b.startswith("fold") for b in breaches),
            "breaches": breaches[:40], "breach_count": len(breaches),
            "recovery": spread([one.seconds for one in took]),
            "recovery_undisturbed": spread([one.seconds for one in quiet]),
            "slowest_undisturbed": [verify.why_slow(one) for one in reversed(quiet[-3:]) if one.seconds > 1.0],
            "never_hit": sorted({f.kind for f in self.faults} - set(self.hands.done)),
        }  # fmt: skip


def spread(values: list[float]) -> dict[str, Any]:
    """Of sorted seconds: how many, p50, max."""
    if not values:
        return {"count": 0}
    return {"count": len(values), "p50_s": round(values[len(values) // 2], 3), "max_s": round(values[-1], 3)}


if __name__ == "__main__":
    raise SystemExit(main())
