"""The runner's program as a process of its own, against the API over HTTP, with handlers in shell script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connection

from resources import artifacts
from runs import actions, clock
from runs.jobs import claims, logs, tokens
from runs.models import Job, Run, StepRun
from tests.engine.cluster import SYSTEM, check_fold, wait_until
from tests.engine.test_jobs import started, work

Json = Any
ROOT = Path(__file__).resolve().parent.parent.parent


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def api(port: int = 0) -> Iterator[int]:
    """The whole API on this port of 127.0.0.1."""
    own = get_wsgi_application()

    def application(environ: Any, start: Any) -> Any:
        try:
            return list(own(environ, start))
        finally:
            connection.close()

    server = make_server("127.0.0.1", port, application, Threads, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Program:
    def __init__(self, port: int, tmp: Path, *words: str, name: str = "vm") -> None:
        token = tmp / f"token-{name}"
        token.write_text(tokens.create_runner_token(actor=SYSTEM, name=name)[1])
        token.chmod(0o600)
        argv = [sys.executable, "-m", "orchestra.cli", "runner", "--url", f"http://127.0.0.1:{port}"]
        argv += ["--token-file", str(token), "--labels", "linux,gpu", "--name", name, *words]
        self.process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.said()

    def said(self) -> list[Json]:
        """What it logged, once it has ended."""
        return [json.loads(line) for line in self.process.communicate(timeout=60)[1].splitlines()]


def handler(tmp: Path, text: str) -> list[str]:
    script = tmp / "handler.sh"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o700)
    return ["--", str(script)]


AGENT = """
set -e
issue=$(sed -n 's/.*"issue": \\([0-9]*\\).*/\\1/p' "$ORCHESTRA_JOB_FILE" | head -1)
echo "looking at issue $issue" | tee "$ORCHESTRA_PROGRESS_FILE"
cat "$ORCHESTRA_FILES_DIR/notes.txt"
echo "patch of $issue" > "$ORCHESTRA_ARTIFACTS_DIR/fix.patch"
printf '{"fixed": %s, "key": "%s"}' "$issue" "$ORCHESTRA_IDEMPOTENCY_KEY" > "$ORCHESTRA_OUTPUT_FILE"
"""


def test_a_coding_agent_in_shell_script_does_a_job_from_claim_to_the_run_s_end(database: str, tmp_path: Path) -> None:
    given = artifacts.store(b"the notes\n", content_type="text/plain")
    run = started(job=f'files: {{notes.txt: "res://{given.pk}"}}')
    with api() as port, Program(port, tmp_path, "--once", *handler(tmp_path, AGENT)) as program:
        said = program.said()
    assert (program.process.returncode, said[-2]["state"]) == (0, "done"), said
    work()
    check_fold(run)
    output = StepRun.objects.get(run=run).output
    assert output["result"] == {"fixed": 7, "key": f"{run}:fix:1"}
    assert artifacts.read(artifacts.get(output["artifacts"]["fix.patch"]["$res"])) == b"patch of 7\n"
    assert artifacts.read(artifacts.get(output["log"]["$res"])) == b"looking at issue 7\nthe notes\n"
    assert Run.objects.get(pk=run).status == "succeeded"


@pytest.mark.parametrize(
    ("text", "cls", "part"),
    [
        ("echo oh no; exit 3", "exit", "code 3. oh no"),
        ("kill -9 $$", "exit", "signal 9"),
        ('echo "{" > "$ORCHESTRA_OUTPUT_FILE"', "contract", "no JSON"),
        ('printf "\\377" > "$ORCHESTRA_OUTPUT_FILE"', "contract", "no JSON"),
        ('head -c 2000000 /dev/zero > "$ORCHESTRA_OUTPUT_FILE"', "limit", "bytes"),
    ],
)
def test_how_a_handler_ends_is_how_its_step_ends(database: str, tmp_path: Path, text: str, cls: str, part: str) -> None:
    run = started()
    with api() as port, Program(port, tmp_path, "--once", *handler(tmp_path, text)) as program:
        program.said()
    assert program.process.returncode == 1
    work()
    error = Run.objects.get(pk=run).error or {}
    assert (error["class"], part in error["message"]) == (cls, True), error


def test_a_log_that_is_longer_than_what_is_kept_does_not_end_the_job(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_LOG", 1000)
    started()
    text = f"head -c 2000 /dev/zero | tr '\\0' x; while [ ! -e {tmp_path}/on ]; do sleep 0.1; done; echo more"
    with api() as port, Program(port, tmp_path, "--once", *handler(tmp_path, text)) as program:
        wait_until(lambda: Job.objects.get().log_size >= 1000)
        (tmp_path / "on").touch()
        said = program.said()
    assert (program.process.returncode, said[-2]["state"]) == (0, "done"), said
    assert b"x" * 1000 + b"\n[cut here" in artifacts.read(artifacts.get(Job.objects.get().log["$res"]))


def test_a_piece_of_a_log_whose_answer_is_lost_does_not_end_the_job(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, seen = logs.append, list[bytes]()

    def broken(**known: Json) -> Json:
        seen.append(known["data"])
        found = append(**known) if len(seen) == 1 or b"two" in known["data"] or known["offset"] else None
        if len(seen) == 1 or found is None:
            (tmp_path / "on").touch()
            raise RuntimeError("The answer is lost.")
        return found

    monkeypatch.setattr(logs, "append", broken)
    started()
    text = f"echo one; while [ ! -e {tmp_path}/on ]; do sleep 0.1; done; echo two"
    with api() as port, Program(port, tmp_path, "--once", *handler(tmp_path, text)) as program:
        said = program.said()
    assert (program.process.returncode, said[-2]["state"]) == (0, "done"), said
    assert artifacts.read(artifacts.get(Job.objects.get().log["$res"])) == b"one\ntwo\n"
    assert seen[0] == b"one\n" and b"one\ntwo\n" in seen


def test_a_job_s_own_command_runs_only_where_the_owner_allowed_it(database: str, tmp_path: Path) -> None:
    command = "command: [sh, -c, 'echo $WHO > $ORCHESTRA_ARTIFACTS_DIR/who'], env: {WHO: flow}"
    started(job=command)
    with api() as port:
        with Program(port, tmp_path, "--once", *handler(tmp_path, "test -z $WHO"), name="careful") as program:
            program.said()
        assert (Job.objects.get().state, Job.objects.get().artifacts) == ("done", {})
        started(job=command)
        with Program(port, tmp_path, "--once", "--allow-commands", name="open") as program:
            program.said()
    made = Job.objects.latest("created_at").artifacts["who"]
    assert artifacts.read(artifacts.get(made["$res"])) == b"flow\n"


def test_cancelling_the_run_ends_the_process_and_the_job(database: str, tmp_path: Path) -> None:
    run = started(job="lease: 10s")
    mark = tmp_path / "pid"
    with (
        api() as port,
        Program(port, tmp_path, "--once", *handler(tmp_path, f"echo $$ > {mark}; sleep 300")) as program,
    ):
        wait_until(lambda: mark.exists() and mark.read_text().strip())
        actions.cancel_run(actor=SYSTEM, run_id=run, reason="no")
        work()
        program.said()
    assert Job.objects.get().state == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_another_runner_takes_over_what_a_killed_one_held_and_its_process_is_gone(
    database: str, tmp_path: Path
) -> None:
    run = started()
    mark = tmp_path / "pid"
    with api() as port:
        with Program(port, tmp_path, *handler(tmp_path, f"echo $$ > {mark}; sleep 300"), name="one") as program:
            wait_until(lambda: mark.exists() and mark.read_text().strip())
            program.process.kill()
        wait_until(lambda: not Path(f"/proc/{mark.read_text().strip()}").exists())
        now = clock.now()
        Job.objects.update(lease_until=now - 1)
        claims.expire(now)
        with Program(port, tmp_path, "--once", *handler(tmp_path, "true"), name="two") as program:
            program.said()
    work()
    assert StepRun.objects.get(run=run).output["runner"] == "two"
    assert Job.objects.get().takeovers == 1


def test_a_result_is_kept_while_orchestra_is_away_and_sigterm_lets_the_job_end(database: str, tmp_path: Path) -> None:
    run = started()
    go, mark = tmp_path / "go", tmp_path / "began"
    text = f'touch {mark}; while [ ! -e {go} ]; do sleep 0.1; done; echo 5 > "$ORCHESTRA_OUTPUT_FILE"'
    with api() as port:
        program = Program(port, tmp_path, *handler(tmp_path, text))
        wait_until(mark.exists)
    with program:
        program.process.send_signal(signal.SIGTERM)
        go.touch()
        with api(port):
            said = program.said()
    assert program.process.returncode == 0
    assert [one["event"] for one in said].count("job") == 1 and said[-1]["event"] == "stopped"
    work()
    assert Run.objects.get(pk=run).output == 5


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_token_that_others_can_read_or_that_is_none_is_refused_at_once(
    database: str, tmp_path: Path, mode: int
) -> None:
    with api() as port:
        token = tmp_path / "t"
        token.write_text("orr_wrong")
        token.chmod(mode)
        argv = [sys.executable, "-m", "orchestra.cli", "runner", "--url", f"http://127.0.0.1:{port}", "--token-file"]
        argv += [str(token), "--labels", "linux", "--", "true"]
        done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert ("chmod 600" if mode == 0o644 else "no runner's") in done.stderr


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    code = (
        "import sys, orchestra.cli.runner; print([m for m in sys.modules if m.split('.')[0] in ('django', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
