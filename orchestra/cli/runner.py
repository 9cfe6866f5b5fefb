"""`orchestra runner`: asks for jobs, does them one by one or several at a time, and says how they ended."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from orchestra.cli.wire import Away, Said, Server, keep_trying
from orchestra.cli.work import Work

Json = Any
WAIT: Final = 15  # seconds of a claim
PAUSE: Final = 0.5  # seconds between two claims
_HELP: Final = """\
COMMAND gets each job: it reads $ORCHESTRA_JOB_FILE (JSON: input, key, run, step ...), may write JSON to
$ORCHESTRA_OUTPUT_FILE, files into $ORCHESTRA_ARTIFACTS_DIR, and lines on how far it is to $ORCHESTRA_PROGRESS_FILE.
What the job brings is in $ORCHESTRA_FILES_DIR. $ORCHESTRA_IDEMPOTENCY_KEY is the same for every repeat of the job.
Code 0: done. All it prints is the job's log. SIGTERM: finish what runs, then leave; a second one: stop it, too.

  orchestra runner --url https://orchestra.example --token-file token --labels linux,gpu -- ./fix-issue.sh
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="orchestra runner", description="Does jobs of flows on this machine.", epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="orchestra runner [options] -- COMMAND [ARG ...]",
    )  # fmt: skip
    made.add_argument("--url", required=True, help="address of Orchestra")
    made.add_argument("--token-file", required=True, type=Path, help="file with a runner's token, for your eyes only")
    made.add_argument("--labels", required=True, help="what this machine has: linux,gpu")
    made.add_argument("--name", default=socket.gethostname()[:100], help="what people see; else the host's name")
    made.add_argument("--concurrency", type=int, default=1, choices=range(1, 65), metavar="N", help="jobs at a time")
    made.add_argument("--workdir", type=Path, help="where jobs get their folders; else a temporary folder")
    made.add_argument("--once", action="store_true", help="do one job, then leave; its exit code is 0 for done")
    made.add_argument(
        "--allow-commands", action="store_true",
        help="run what a job names as its `command`, with its `env`: whoever writes flows then runs programs here",
    )  # fmt: skip
    return made


class Runner:
    def __init__(self, args: argparse.Namespace, command: Sequence[str], token: str, workdir: Path) -> None:
        self.server = Server(args.url, token)
        self.args, self.command, self.workdir = args, list(command), workdir
        self.labels = [label for label in args.labels.split(",") if label]
        self.stop, self.abort = threading.Event(), threading.Event()
        self.states: list[str] = []
        self.refused = False

    def tell(self, event: str, **facts: Json) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.stderr.write(json.dumps({"at": at, "event": event, "runner": self.args.name, **facts}) + "\n")
        sys.stderr.flush()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        self.tell("started", labels=self.labels, url=self.args.url)
        threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(self.args.concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # signals are seen in between
        self.tell("stopped")
        return 2 if self.refused else int(self.args.once and self.states != ["done"])

    def _asked_to_stop(self, *_: object) -> None:
        if self.stop.is_set():
            self.abort.set()
        self.stop.set()

    def _loop(self) -> None:
        while not self.stop.is_set():
            try:
                job = keep_trying(self._claim, stop=self.stop, tell=lambda said: self.tell("away", error=said))
            except Away:
                return
            except Said as error:
                self.tell("refused", error=str(error))
                self.refused = True
                self.stop.set()
                return
            if job is None:
                self.stop.wait(PAUSE)  # a server with too many callers answers at once
            else:
                self._do(job)
            if job is not None and self.args.once:
                self.stop.set()

    def _claim(self) -> Json:
        body = {"name": self.args.name, "labels": self.labels, "wait": WAIT}
        return self.server.ask("POST", "/claim", body, timeout=WAIT + 15.0)["job"]

    def _do(self, job: Json) -> None:
        self.tell("job", job=job["id"], run=job["run"], step=job["step"], takeovers=job["takeovers"])
        given = self.args.allow_commands and job["command"] is not None
        command = job["command"] if given else self.command or None
        work = Work(self.server, job, self.workdir, self.abort, self.tell)
        try:
            state = work.do(command, job["env"] if given else {})
        except Away as error:
            state = "lost"
            self.tell("away", error=str(error))
        self.states.append(state)
        self.tell("ended", job=job["id"], run=job["run"], step=job["step"], state=state)


def token_of(args: argparse.Namespace, said: argparse.ArgumentParser) -> str:
    """What --token-file holds; ends the program where that or --url cannot be used."""
    parts = urlsplit(args.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        said.error("--url is such as https://orchestra.example")
    try:
        token: str = args.token_file.read_text().strip()
        open_to = stat.S_IMODE(args.token_file.stat().st_mode) & 0o077
    except (OSError, UnicodeDecodeError) as error:
        said.error(f"--token-file: {error}")
    if open_to and os.name == "posix":
        said.error(f"others can read {args.token_file}; run: chmod 600 {args.token_file}")
    return token


def main(argv: Sequence[str]) -> int:
    """Exit code: 0, 1 for a job of --once that was not done, 2 for what cannot work."""
    at = argv.index("--") if "--" in argv else len(argv)
    args, command = parser().parse_args(argv[:at]), argv[at + 1 :]
    if not command and not args.allow_commands:
        parser().error("give a COMMAND after --, or --allow-commands")
    token = token_of(args, parser())
    with tempfile.TemporaryDirectory(prefix="orchestra-runner-") as temporary:
        workdir = (args.workdir or Path(temporary)).resolve()
        workdir.mkdir(parents=True, exist_ok=True)
        return Runner(args, command, token, workdir).run()
