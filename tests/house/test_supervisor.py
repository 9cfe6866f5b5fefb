"""The supervisor restarts what dies, sweeps up what it left, and leaves nobody behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra.supervisor.config import CannotStart, read_config, restart_delay
from orchestra.supervisor.welcome import welcome
from tests.services import ROOT


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 200.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Running:
    """A supervisor with two small children, each of which has a process below it that ignores SIGTERM."""

    def __init__(self, folder: Path, manners: str) -> None:
        self.folder = folder
        argv = [sys.executable, "-m", "tests.house.small_supervisor", str(folder), manners]
        self.process = subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def starts(self, name: str) -> list[tuple[int, int]]:
        path = self.folder / f"{name}.starts"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines if len(line.split()) == 2]

    def everybody(self) -> list[int]:
        return [pid for name in ("web", "work") for pair in self.starts(name) for pid in pair]

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Orchestra is ready at"):
                return
        raise AssertionError("it never was ready")

    def finish(self) -> str:
        """What it said after the last line that was read."""
        return self.process.communicate(timeout=200)[0]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    begun: list[Running] = []

    def start(manners: str = "polite") -> Running:
        begun.append(Running(tmp_path, manners))
        return begun[-1]

    yield start
    for running in begun:
        for pid in [running.process.pid, *running.everybody()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_all_children_and_what_they_started(run: Callable[[str], Running], number: int) -> None:
    running = run("polite")
    running.wait_until_ready()
    running.process.send_signal(number)
    running.finish()
    assert running.process.returncode == 0
    assert len(running.everybody()) == 4
    assert not [pid for pid in running.everybody() if alive(pid)]


def test_a_killed_child_is_started_again_and_its_orphans_are_ended(run: Callable[[str], Running]) -> None:
    running = run("polite")
    running.wait_until_ready()
    main, below = running.starts("work")[0]
    os.kill(main, signal.SIGKILL)
    assert wait_for(lambda: len(running.starts("work")) == 2)
    assert not alive(below)
    assert len(running.starts("web")) == 1
    running.process.terminate()
    assert "work | ended with signal SIGKILL; starting it again now" in running.finish()


def test_a_child_that_will_not_stop_is_killed_after_the_grace(run: Callable[[str], Running]) -> None:
    running = run("stubborn")
    running.wait_until_ready()
    running.process.terminate()
    assert "work | did not stop in time; killed" in running.finish()
    assert running.process.returncode == 0
    assert not [pid for pid in running.everybody() if alive(pid)]


def test_children_do_not_outlive_a_killed_supervisor(run: Callable[[str], Running]) -> None:
    running = run("stubborn")
    running.wait_until_ready()
    running.process.kill()
    mains = [running.starts(name)[0][0] for name in ("web", "work")]
    assert wait_for(lambda: not any(alive(pid) for pid in mains))


def test_a_child_that_keeps_dying_at_the_start_ends_the_start_with_a_sentence(run: Callable[[str], Running]) -> None:
    running = run("dies")
    assert "work does not stay up" in running.finish()
    assert running.process.returncode == 1
    assert not [pid for pid in running.everybody() if alive(pid)]


def test_the_first_restart_is_at_once_and_later_ones_back_off_to_a_cap() -> None:
    assert [restart_delay(n) for n in range(1, 6)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert restart_delay(1000) == 30.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "65536"), ("PORT", "80.5"), ("PORT", "http"), ("WORKERS", "0"), ("DEMO", "perhaps")],
)
def test_nonsense_in_the_environment_is_named(name: str, value: str) -> None:
    with pytest.raises(CannotStart, match=f"{name} must be"):
        read_config({name: value}, root=Path("/r"), cores=2)


def test_defaults_and_what_the_environment_says() -> None:
    plain = read_config({}, root=Path("/r"), cores=2)
    assert (plain.url, plain.data_dir, plain.workers, plain.demo) == (
        "http://127.0.0.1:8000",
        Path("/r/.data"),
        4,
        True,
    )
    own = read_config({"PORT": "81", "HOST": "0.0.0.0", "DATA_DIR": "/d", "DEMO": "0"}, root=Path("/r"), cores=2)
    assert own.allowed_host == ""
    assert read_config({"ALLOWED_HOSTS": "flows.example, b"}, root=Path("/r"), cores=2).allowed_host == "flows.example"
    assert (own.url, own.data_dir, own.demo) == ("http://127.0.0.1:81", Path("/d"), False)


ROLES = {"DATABASE_URL": "postgres://owner:o@db/x", "WORKER_DATABASE_URL": "postgres://worker:w@db/x", "A": "1"}


@pytest.mark.parametrize(
    ("child", "user"), [("web", "owner"), ("keep", "owner"), ("work", "worker"), ("work-2", "worker")]
)
def test_clusters_of_workers_know_the_address_of_their_own_role_alone(child: str, user: str) -> None:
    env = read_config(ROLES, root=Path("/r"), cores=2).env_of(child, ROLES)
    assert env == {"DATABASE_URL": f"postgres://{user}:{user[0]}@db/x", "A": "1"}
    one = {"DATABASE_URL": ROLES["DATABASE_URL"]}
    assert read_config(one, root=Path("/r"), cores=2).env_of(child, one) == one


def test_a_role_for_workers_needs_postgresql() -> None:
    with pytest.raises(CannotStart, match="WORKER_DATABASE_URL is for PostgreSQL"):
        read_config({"WORKER_DATABASE_URL": ROLES["WORKER_DATABASE_URL"]}, root=Path("/r"), cores=2)


def test_the_welcome_says_how_to_sign_in() -> None:
    lines = list(
        welcome({"users": ["admin", "author"], "sign_in": "the password is the name", "world_url": "http://w"})
    )
    assert lines[0] == "Sign in as admin, author."
    assert "the password is the name" in lines[1]
    assert "manage.py invite" in next(iter(welcome(None)))
