"""The whole program as a person starts it: ready, restarted, stopped, side by side, and clear when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.supervisor.probe import get_status
from tests.services import ROOT, free_port
from tests.stack import Stack, group_members

pytestmark = [pytest.mark.stack]


def wait_for(what: Callable[[], bool], seconds: float = 200.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def serve(data_dir: Path, port: int) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(port)}
    argv = [sys.executable, "manage.py", "serve"]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_it_serves_restarts_what_is_killed_and_leaves_nobody_behind(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        assert stack.lines[-1:] != []
        children = stack.children()
        assert set(children) == {"web", "work", "keep", "world"}
        old_workers = group_members(children["work"])
        for name in ("work", "web"):
            os.kill(children[name], signal.SIGKILL)

        def came_back() -> bool:
            found = stack.children()
            return set(found) == set(children) and all(found[name] != children[name] for name in ("work", "web"))

        assert wait_for(came_back)
        assert wait_for(lambda: get_status("127.0.0.1", stack.port, "/healthz") == 200)
        assert wait_for(lambda: len(group_members(stack.children()["work"])) == len(old_workers))
        assert group_members(children["work"]) == []
        groups = stack.children().values()
        assert stack.stop() == 0
    assert [member for group in groups for member in group_members(group)] == []


def test_two_instances_live_side_by_side_and_a_second_start_keeps_keys_and_world(tmp_path: Path) -> None:
    with Stack(tmp_path / "a") as one, Stack(tmp_path / "b") as two:
        assert {get_status("127.0.0.1", stack.port, "/readyz") for stack in (one, two)} == {200}
        world = (one.data_dir / "instance.json").read_text()
        assert world != (two.data_dir / "instance.json").read_text()
        keys = [(one.data_dir / name).read_bytes() for name in ("secret_key", "encryption_keys.json")]
        assert {(one.data_dir / name).stat().st_mode & 0o777 for name in ("secret_key", "encryption_keys.json")} == {
            0o600
        }
        one.stop()
        one.start()
        assert (one.data_dir / "instance.json").read_text() == world
        assert [(one.data_dir / name).read_bytes() for name in ("secret_key", "encryption_keys.json")] == keys
        refused = serve(one.data_dir, free_port())
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "is in use by another Orchestra" in refused.stderr


@pytest.mark.timeout(300)
def test_it_serves_on_postgresql_with_redis(tmp_path: Path, postgres_server: object, redis_url: str) -> None:
    url = postgres_server.new_database()  # type: ignore[attr-defined]
    with Stack(tmp_path, database_url=url, env={"REDIS_URL": redis_url}) as stack:
        assert get_status("127.0.0.1", stack.port, "/readyz") == 200
    assert not list(tmp_path.glob("*.sqlite3"))


def test_a_taken_port_is_said_in_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = serve(tmp_path, port)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert (
        refused.stderr == f"Port {port} on 127.0.0.1 cannot be used (Address already in use); set PORT to a free one.\n"
    )
    assert not (tmp_path / "orchestra.sqlite3").exists()


def test_an_unwritable_data_dir_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = serve(tmp_path / "file" / "data", free_port())
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"DATA_DIR {tmp_path / 'file' / 'data'} cannot be written (")
    assert refused.stderr.count("\n") == 1
