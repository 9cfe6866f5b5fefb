"""ssh, detached: jobs that run by themselves on a real sshd."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.steps.base import Done, Fail, Retry
from flows.steps.registry import family
from resources import artifacts
from resources.stop import Stop
from tests.families.attempt import KEY, Attempt, error, output, resolve
from tests.families.sshd import Sshd
from tests.families.test_ssh import Box, groups, kept_here, meanwhile, ran, wait_until

pytestmark = pytest.mark.db_matrix
Json = Any
__all__ = ["kept_here"]
_numbers = iter(range(10_000))


@pytest.fixture
def key(server: Sshd) -> str:
    """An idempotency key, and so a job, of this test's own."""
    return f"run{next(_numbers)}:agent:1"


def start(command: Json, key: str, *, expect: bool = True, **config: Json) -> Json:
    tried = ran(command, config={"detached": True, **config}, key=key)
    return output(tried) if expect else tried


def about(job: str, action: str = "status", *, follow: bool = False, **known: Any) -> Attempt:
    """One attempt at a look."""
    config = {"job": job, "action": action, "command": None, **known.pop("config", {})}
    if follow:
        config["follow"] = True
    return ran(None, config=config, **known)


def ended(job: str) -> Json:
    wait_until(lambda: output(about(job))["state"] != "running")
    return output(about(job))


def test_a_job_starts_at_once_and_is_collected_when_it_ended(box: Box, server: Sshd, key: str, tmp_path: Path) -> None:
    box()
    go = tmp_path / "it's $go"
    script = 'cat; while [ ! -e "$1" ]; do sleep 0.05; done; echo "$ORCHESTRA_IDEMPOTENCY_KEY"; echo bad >&2; exit 4'
    began = start(["sh", "-c", script, "sh", str(go)], key, stdin="given\n")
    assert began["job"] == key.replace(":", ".") and began["dir"] == f"{server.home}/.orchestra/jobs/{began['job']}"
    seen = output(about(began["job"]))
    assert (seen["state"], seen["exit_code"], seen["pid"]) == ("running", None, began["pid"])
    go.touch()
    assert ended(began["job"])["exit_code"] == 4
    assert error(about(began["job"], "collect")) == "exit"
    found = output(about(began["job"], "collect", config={"ok": [4], "stdout": "resource"}))
    assert artifacts.read(artifacts.get(found["stdout"]["$res"])).decode() == f"given\n{key}\n"
    assert (found["stderr"], found["exit_code"], found["state"]) == ("bad\n", 4, "ended")


def test_files_of_a_job_are_the_accounts_alone_but_what_it_makes_is_as_ever(box: Box, key: str, tmp_path: Path) -> None:
    box()
    made = tmp_path / "made"
    began = start(["touch", str(made)], key)
    ended(began["job"])
    assert {p.stat().st_mode & 0o077 for p in Path(began["dir"]).rglob("*")} == {0}
    assert made.stat().st_mode & 0o777 == 0o666 & ~umask_of_server(box)


def umask_of_server(box: Box) -> int:
    return int(output(ran(["sh", "-c", "umask"]))["stdout"], 8)


def test_the_same_key_starts_it_once(box: Box, key: str, tmp_path: Path) -> None:
    box()
    count = tmp_path / "count"
    script = f"echo x >> '{count}'; sleep 0.3"
    first, again = start(["sh", "-c", script], key), start(["sh", "-c", script], key)
    assert first == again
    ended(first["job"])
    assert start(["sh", "-c", script], key) == first and count.read_text() == "x\n"
    assert family("ssh").repeatable(resolve("ssh", {"connection": "box", "command": ["a"], "detached": True}), None)


def test_a_job_outlives_its_connection_and_whoever_started_it(box: Box, server: Sshd, key: str, tmp_path: Path) -> None:
    box()
    go = tmp_path / "go"
    before = set(server.sessions())
    began = start(["sh", "-c", f"while [ ! -e '{go}' ]; do sleep 0.05; done; echo alive"], key)
    for pid in set(server.sessions()) - before:
        os.kill(pid, signal.SIGKILL)
    go.touch()
    assert ended(began["job"])["exit_code"] == 0
    assert output(about(began["job"], "collect"))["stdout"] == "alive\n"


def test_following_shows_what_is_said_and_goes_on_over_a_broken_connection(
    box: Box, server: Sshd, key: str, tmp_path: Path
) -> None:
    box()
    go, tail = tmp_path / "go", list[str]()
    before = set(server.sessions())
    began = start(["sh", "-c", f"echo first; while [ ! -e '{go}' ]; do sleep 0.05; done; echo last; exit 0"], key)

    def cut() -> None:
        wait_until(lambda: "".join(tail) == "first\n")
        for pid in set(server.sessions()) - before:
            os.kill(pid, signal.SIGKILL)
        go.touch()

    with meanwhile(cut):
        tried = about(began["job"], "collect", follow=True, tail=tail, timeout=30)
    assert output(tried)["stdout"] == "first\nlast\n" and "".join(tail) == "first\nlast\n"
    assert any("is opened again" in line for line in tried.log)


def test_the_next_attempt_goes_on_at_the_byte_of_the_one_before(box: Box, key: str, tmp_path: Path) -> None:
    box()
    go, left, tail = tmp_path / "go", list[Json](), list[str]()
    began = start(["sh", "-c", f"echo first; while [ ! -e '{go}' ]; do sleep 0.05; done; echo last"], key)
    ended_early = about(began["job"], "collect", follow=True, tail=tail, checkpoint=left.append, timeout=3.0)
    assert isinstance(ended_early.outcome, Retry) and error(ended_early) == "timeout"
    assert "".join(tail) == "first\n" and left[-1]["shown"] == [6, 0]
    go.touch()
    tail.clear()
    again = about(began["job"], "collect", follow=True, tail=tail, previous_checkpoint=left[-1])
    assert "".join(tail) == "last\n" and output(again)["stdout"] == "first\nlast\n"


def test_a_follower_that_is_cancelled_leaves_the_job_alone(box: Box, key: str) -> None:
    box()
    stop, tail = Stop(), list[str]()
    began = start(["sh", "-c", "echo up; sleep 300.81"], key)

    def once_seen() -> None:
        wait_until(lambda: tail)
        stop.set("cancelled")

    with meanwhile(once_seen):
        tried = about(began["job"], "collect", follow=True, tail=tail, cancelled=stop, timeout=60)
    assert isinstance(tried.outcome, Retry)
    assert output(about(began["job"]))["state"] == "running"
    output(about(began["job"], "cancel"))


def test_cancel_reaches_the_remote_process_group_and_may_be_repeated(box: Box, key: str) -> None:
    box()
    script = "trap '' TERM; (trap '' TERM; sleep 300.82) & sleep 300.82"
    began = start(["sh", "-c", script], key)
    wait_until(lambda: len(groups("sleep\x00300.82")) == 2)
    gone = output(about(began["job"], "cancel"))
    assert (gone["state"], gone["exit_code"]) == ("ended", 137)
    wait_until(lambda: groups("sleep\x00300.82") == [])
    assert output(about(began["job"], "cancel")) == gone
    assert output(about("run0.nothing.1", "cancel")) == {"job": "run0.nothing.1", "state": "absent"}


def test_a_job_that_obeys_is_ended_with_its_own_code(box: Box, key: str, tmp_path: Path) -> None:
    box()
    obeys = tmp_path / "obeys"
    began = start(["sh", "-c", f"trap 'echo bye; exit 9' TERM; touch '{obeys}'; while :; do sleep 0.05; done"], key)
    wait_until(obeys.exists)
    assert output(about(began["job"], "cancel"))["exit_code"] == 9
    assert output(about(began["job"], "collect", config={"ok": [9]}))["stdout"] == "bye\n"


def test_a_job_whose_machine_forgot_it_is_lost(box: Box, key: str) -> None:
    box()
    began = start(["sleep", "300.83"], key)
    os.killpg(began["pid"], signal.SIGKILL)
    assert ended(began["job"])["state"] == "lost"
    tried = about(began["job"], "collect")
    assert isinstance(tried.outcome, Fail) and "left no exit code" in tried.stored["message"]


def test_there_is_no_such_job(box: Box) -> None:
    box()
    tried = about("run0.nothing.1")
    assert isinstance(tried.outcome, Fail) and error(tried) == "input" and "no job" in tried.stored["message"]


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))  # type: ignore[attr-defined]
        self.send_response(503 if len(self.server.got) == 1 else 200)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def caller() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        running.got = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_the_job_posts_its_end_and_asks_again_where_nobody_takes_it(box: Box, key: str, caller: Any) -> None:
    box()
    url = f"http://127.0.0.1:{caller.server_port}/callbacks/it's$(x)"
    config = {"detached": True, "callback": "done"}
    began = output(ran(["sh", "-c", "echo four; exit 7"], config=config, key=key, callback_url=lambda step: url))
    wait_until(lambda: len(caller.got) == 2)
    assert caller.got[1] == {"job": began["job"], "exit_code": 7, "stdout_bytes": 5, "stderr_bytes": 0}
    assert KEY not in began["job"]


def test_a_large_output_of_a_job_is_collected_in_pieces(box: Box, key: str) -> None:
    box()
    began = start(["head", "-c", str(5 * 1024**2 + 17), "/dev/zero"], key)
    ended(began["job"])
    tried = about(began["job"], "collect", config={"stdout": "resource"})
    assert isinstance(tried.outcome, Done) and output(tried)["stdout"]["size"] == 5 * 1024**2 + 17
