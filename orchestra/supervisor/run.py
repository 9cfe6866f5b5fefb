"""The main loop of `manage.py serve`: prepare, start, wait until it is ready, restart what dies, stop it all."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from orchestra import instance
from orchestra.supervisor.checks import free_port, preflight
from orchestra.supervisor.child import Child, Spec, leash
from orchestra.supervisor.config import CannotStart, Config, bytecode, read_config
from orchestra.supervisor.console import Console
from orchestra.supervisor.pool import Pool
from orchestra.supervisor.probe import describe, get_status
from orchestra.supervisor.welcome import welcome

ROOT = Path(__file__).resolve().parents[2]
MAX_EARLY_DEATHS = 5
PROBE_SECONDS = 0.1
LOAD = "load.json"


class Stopped(Exception):
    """Somebody asked us to stop (SIGTERM, SIGINT)."""


class Supervisor:
    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self.env = dict(os.environ)
        self.children: list[Child] = []
        self.stop_signals = 0
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.world_port = 0
        self.pool = Pool(config.policy, config.data_dir / LOAD, config.queues, self._start_cluster)

    # -- signals: a handler only notes and wakes; put() of SimpleQueue is safe there ------------------------

    def listen(self) -> None:
        signal.signal(signal.SIGCHLD, lambda number, frame: self._wake.put(None))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_signals += 1
        self._wake.put(None)

    def _pause(self, seconds: float | None) -> None:
        """Sleep until a signal comes or the time is up."""
        try:
            self._wake.get(timeout=seconds)
        except queue.Empty:
            return

    # -- start --------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Write down what this instance is, for children and for commands run by hand."""
        data_dir, demo = self.config.data_dir, self.config.demo
        old = instance.read(data_dir)
        (data_dir / "static").mkdir(exist_ok=True)  # whitenoise warns about a missing one
        world_url = ""
        if demo:
            self.world_port = free_port(int(old.world_url.rpartition(":")[2] or 0))
            world_url = f"http://127.0.0.1:{self.world_port}"
        instance.write(data_dir, instance.Instance(self.config.port, demo, world_url))
        self.env |= {
            "DATA_DIR": str(data_dir),
            "PORT": str(self.config.port),
            "WORKERS": str(self.config.workers),
            "QUEUES": ",".join(self.config.queues),
            "LOAD_FILE": str(data_dir / LOAD) if self.config.policy.moves else "",
            "LOG_LEVEL": self.config.log_level,
            "DEMO": "1" if demo else "0",
            "WORLD_URL": world_url,
            "DJANGO_SETTINGS_MODULE": "orchestra.settings",
            "PYTHONUNBUFFERED": "1",
            # threads take turns in Python anyway; a heap for each only keeps memory back, some 5 MiB of the web process
            "MALLOC_ARENA_MAX": self.env.get("MALLOC_ARENA_MAX") or "2",
            "AUTOBAHN_USE_NVX": "0",  # compiles C declarations at each start: 0.3 s for frames we hardly receive
            **bytecode(self.env, (Path(sys.prefix) if os.access(sys.prefix, os.W_OK) else data_dir) / "bytecode"),
        }

    def specs(self) -> list[Spec]:
        config, python = self.config, sys.executable
        web = (
            python,
            "-m",
            "orchestra.web",
            "-v",
            "0",
            "-b",
            config.host,
            "-p",
            str(config.port),
            "orchestra.asgi:application",
        )
        keep = (python, str(ROOT / "manage.py"), "keeper", "--skip-checks")
        world = (
            python,
            "-m",
            "orchestra.world",
            "--port",
            str(self.world_port),
            "--data",
            str(config.data_dir / "world"),
        )
        specs = [
            Spec("web", web, ROOT, gate="web"),
            work_spec("work", config.workers),
            Spec("keep", keep, ROOT, gate="apps"),
        ]
        return [*specs, Spec("world", world, ROOT)] if config.demo else specs

    def _start_cluster(self, name: str, workers: int) -> Child:
        self.console.say(f"Work waits for workers: starting {name} with {workers} more")
        env = self.config.env_of(name, self.env) | {"WORKERS": str(workers)}
        child = Child(work_spec(name, workers), env, self.console)
        child.start()
        return child

    def prepare(self) -> object:
        """Migrate and make the demo workspace in a process of its own. Returns what `demo_info` says, or None."""
        self.console.say("Preparing the database" + (" and the demo workspace" if self.config.demo else ""))
        argv = [sys.executable, str(ROOT / "manage.py"), "prepare", "--skip-checks"]
        tie = leash(os.getpid(), signal.SIGKILL)
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=tie,
        )
        while process.poll() is None and not self.stop_signals:
            self._pause(1.0)
        if self.stop_signals:
            process.kill()
            process.communicate()
            raise Stopped
        output, _ = process.communicate()
        if process.returncode:
            raise CannotStart("The database could not be prepared; the lines above say why.")
        return json.loads(output) if output.strip() else None

    def start(self) -> None:
        """All children at once; those that need the database load their programs and wait for `open_gates`."""
        specs = self.specs()
        self.console.say("Starting " + ", ".join(spec.name for spec in specs))
        self.children = [Child(spec, self.config.env_of(spec.name, self.env), self.console) for spec in specs]
        for child in self.children:
            child.start(held=bool(child.spec.gate))

    def open_gates(self) -> None:
        for child in self.children:
            child.let_go()

    def wait_until_ready(self) -> None:
        """Raises CannotStart when a child keeps dying or the time is up, Stopped when asked to stop."""
        end = time.monotonic() + self.config.start_s
        missing = "web"
        while time.monotonic() < end:
            self.look_after()
            dying = [child.spec.name for child in self.children if child.failures >= MAX_EARLY_DEATHS]
            if dying:
                raise CannotStart(f"{dying[0]} does not stay up; the lines above say why.")
            missing = self._missing()
            if not missing:
                return
            self._pause(PROBE_SECONDS)
        raise CannotStart(f"Not ready after {self.config.start_s:.0f} seconds: still waiting for {missing}.")

    def _missing(self) -> str:
        for path in ("/healthz", "/readyz"):
            if get_status(self.config.probe_host, self.config.port, path, self.config.allowed_host) != 200:
                return f"GET {path}"
        if self.world_port and get_status("127.0.0.1", self.world_port, "/healthz") != 200:
            return "the demo world"
        return next((f"all processes of {c.spec.name}" for c in self.children if not c.is_complete()), "")

    # -- while it runs ------------------------------------------------------------------------------------

    def look_after(self) -> None:
        """Sweep up after children that died and start again those whose time has come. Raises Stopped."""
        if self.stop_signals:
            raise Stopped
        now = time.monotonic()
        self.pool.tend(now, self.config.grace_s)
        for child in [*self.children, *self.pool.children]:
            code = child.reap()
            if code is not None:
                delay = child.plan_restart(now)
                when = f"in {delay:g} s" if delay else "now"
                self.console.child(child.spec.name, f"ended with {describe(code)}; starting it again {when}")
            if child.restart_at is not None and child.restart_at <= now:
                child.start()

    def watch(self) -> None:
        """Until somebody asks to stop."""
        while True:
            self.look_after()
            alive = [*self.children, *self.pool.children]
            due = [child.restart_at for child in alive if child.restart_at is not None]
            due += self.pool.due(time.monotonic())
            self._pause(max(0.0, min(due) - time.monotonic()) if due else None)

    # -- stop ---------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Web and workers first: what workers still do may need the demo world."""
        self.console.say("Stopping")
        last = [child for child in self.children if child.spec.name == "world"]
        self._stop([*(child for child in self.children if child not in last), *self.pool.everybody()])
        self._stop(last)

    def _stop(self, children: Sequence[Child]) -> None:
        seen, end = self.stop_signals, time.monotonic() + self.config.grace_s
        for child in children:
            child.ask_to_stop()
        alive = list(children)
        while alive and time.monotonic() < end and self.stop_signals <= max(seen, 1):
            alive = [child for child in alive if child.process is not None and child.reap() is None]
            if alive:
                self._pause(min(1.0, max(0.0, end - time.monotonic())))
        for child in alive:
            self.console.child(child.spec.name, "did not stop in time; killed")
            child.kill_group()
            if child.process is not None:
                child.process.wait()


def work_spec(name: str, workers: int) -> Spec:
    """A cluster: main, sentinel, monitor, pusher and workers. SIGTERM to its main process lets them end in order."""
    argv = (sys.executable, str(ROOT / "manage.py"), "qcluster", "--skip-checks")
    return Spec(name, argv, ROOT, orphan_signal=signal.SIGTERM, processes=workers + 4, gate="apps")


def read_arguments(arguments: Sequence[str]) -> None:
    """`--queues a,b` stands for QUEUES. Raises CannotStart."""
    given = list(arguments)
    if given and given[0].startswith("--queues="):
        given[:1] = ["--queues", given[0].partition("=")[2]]
    if given[:1] == ["--queues"] and len(given) == 2:
        os.environ["QUEUES"] = given[1]
    elif given:
        raise CannotStart("manage.py serve takes --queues a,b and nothing else; the rest are environment variables.")


def main() -> int:
    """Exit codes: 0 stopped when asked to, 1 it would not start, 2 it cannot start here (nothing was started)."""
    console = Console()
    try:
        read_arguments(sys.argv[2:])
        config = read_config(os.environ, root=ROOT, cores=os.cpu_count() or 2)
        lock = preflight(config)
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with lock:
        return serve(Supervisor(config, console))


def serve(supervisor: Supervisor) -> int:
    say, config = supervisor.console.say, supervisor.config
    supervisor.listen()
    say(f"Orchestra, data in {config.data_dir}, {config.workers} workers")
    code = 0
    try:
        supervisor.announce()
        supervisor.start()
        info = supervisor.prepare()
        supervisor.open_gates()
        supervisor.wait_until_ready()
        say(f"Orchestra is ready at {config.url}")
        for line in welcome(info):
            say(line)
        supervisor.watch()
    except Stopped:
        pass
    except CannotStart as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    finally:
        supervisor.stop()
    return code
