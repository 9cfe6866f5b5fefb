"""One job on this machine: a folder, a process group, heartbeats meanwhile, and its end told to Orchestra."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mimetypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from orchestra.cli.wire import Away, Said, Server, keep_trying, part

Json = Any
Tell = Callable[..., None]
PIECE: Final = 128 * 1024
MAX_OUTPUT: Final = 900 * 1024
#: seconds between SIGTERM and SIGKILL
GRACE: Final = 10.0
#: seconds between two looks at the process and its output
LOOK: Final = 0.3
BEAT: Final = 5.0


class Work:
    """`abort` set from outside: the runner stops at once; the job goes to another one."""

    def __init__(
        self, server: Server, job: Mapping[str, Json], folder: Path, abort: threading.Event, tell: Tell
    ) -> None:
        self.server, self.job, self.abort = server, job, abort
        self.folder = folder / f"{job['id']}-{job['fence']}"
        self.path, self.fence = f"/jobs/{part(job['id'])}", job["fence"]
        self._tell = tell
        self.ended, self.cancelled, self.lost = threading.Event(), threading.Event(), threading.Event()
        self.sent, self.offset = 0, int(job["log_size"])
        self.full = False  # nothing more of its log is kept

    def tell(self, event: str, **facts: Json) -> None:
        self._tell(event, job=self.job["id"], run=self.job["run"], step=self.job["step"], **facts)

    def do(self, command: Sequence[str] | None, env: Mapping[str, str]) -> str:
        """Gives done, failed, cancelled or lost."""
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            return self._do(command, env)
        except Said as error:
            return self._refused(error)
        except OSError as error:
            return self._fail("internal", f"The runner's machine: {error}", retry=True)
        finally:
            self.ended.set()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _do(self, command: Sequence[str] | None, env: Mapping[str, str]) -> str:
        if command is None:
            return self._fail("refused", "This runner has no handler, and runs no commands of flows.", retry=False)
        self._prepare()
        code = self._run(command, env)
        if self.lost.is_set():
            return "lost"
        if self.cancelled.is_set():
            return self._fail("cancelled", "It was stopped.", retry=False)
        if self.abort.is_set():
            return self._fail("internal", "Its runner was stopped.", retry=True)
        self._upload()
        if code != 0:
            said = f"It was ended by signal {-code}." if code < 0 else f"It ended with code {code}."
            return self._fail("exit", f"{said} {self._last_line()}".strip())
        return self._complete()

    # -- before ------------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("files", "artifacts"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        (self.folder / "job.json").write_text(json.dumps(dict(self.job), indent=1), encoding="utf-8")
        for file in self.job["files"]:
            self._trying(partial(self._fetch, file["name"]))

    def _fetch(self, name: str) -> None:
        with (self.folder / "files" / name).open("wb") as file:
            self.server.fetch(f"{self.path}/files/{part(name)}?fence={self.fence}", file)

    def _env(self, more: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ, **more,
            "ORCHESTRA_JOB_FILE": str(self.folder / "job.json"),
            "ORCHESTRA_OUTPUT_FILE": str(self.folder / "output.json"),
            "ORCHESTRA_ARTIFACTS_DIR": str(self.folder / "artifacts"),
            "ORCHESTRA_FILES_DIR": str(self.folder / "files"),
            "ORCHESTRA_PROGRESS_FILE": str(self.folder / "progress"),
            "ORCHESTRA_IDEMPOTENCY_KEY": self.job["key"],
            "ORCHESTRA_RUN": self.job["run"],
        }  # fmt: skip

    # -- meanwhile ---------------------------------------------------------------------------------------------------
    def _run(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Its exit code, negative for a signal; 127 where it cannot be started."""
        with (self.folder / "log").open("wb") as log:
            try:
                process = subprocess.Popen(  # noqa: S603  what the owner of the machine chose
                    command, cwd=self.folder, env=self._env(env), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_with_parent(),
                )  # fmt: skip
            except OSError as error:
                log.write(f"{command[0]}: {error}\n".encode())
                log.flush()
                self._send_log(last=True)
                return 127
        try:
            self._watch(process)
        finally:
            code = _end(process)
        if not (self.lost.is_set() or self.abort.is_set()):
            self._send_log(last=True)
        return code

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Until it has ended, or should. Raises Said."""
        while process.poll() is None:
            if self.cancelled.is_set() or self.lost.is_set() or self.abort.is_set():
                return
            with contextlib.suppress(Away):
                self._send_log()
            time.sleep(LOOK)

    def _send_log(self, *, last: bool = False) -> None:
        """What is new. `last`: until all of it has arrived. Raises Away, Said."""
        with (self.folder / "log").open("rb") as log:
            while not self.full:
                log.seek(self.sent)
                piece = log.read(PIECE)
                if not piece:
                    return
                self._trying(partial(self._append, piece)) if last else self._append(piece)

    def _append(self, piece: bytes) -> None:
        where = f"{self.path}/logs?fence={self.fence}&offset={self.offset}"
        try:
            told = self.server.send("POST", where, piece, "application/octet-stream", timeout=30.0)
        except Said as error:
            if error.code != "wrong_offset" or not self._catch_up(error.details):
                raise
            return
        self.sent += len(piece)
        self.offset += len(piece)
        if told["full"]:
            self.full = True

    def _catch_up(self, details: Json) -> bool:
        """A piece arrived whose answer did not, and the log has grown since: go on where it ends over there."""
        size = details.get("size") if isinstance(details, dict) else None
        if not isinstance(size, int) or size <= self.offset:
            return False
        self.sent += size - self.offset
        self.offset = size
        return True

    def _beat(self) -> None:
        """Until the job has ended: say that it goes on, learn that it should not."""
        while not self.ended.wait(min(BEAT, self.job["lease"] / 3)):
            try:
                body = {"fence": self.fence, "message": self._progress()}
                told = self.server.ask("POST", f"{self.path}/heartbeat", body, timeout=10.0)
            except Away as error:
                self.tell("away", error=str(error))
            except Said as error:
                self.tell("lost", error=str(error))
                self.lost.set()
                return
            else:
                if told["cancel"] and not self.cancelled.is_set():
                    self.tell("cancel")
                    self.cancelled.set()

    def _progress(self) -> str:
        """The last line that the handler wrote of how far it is."""
        with contextlib.suppress(OSError), (self.folder / "progress").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 1000))
            lines = file.read().decode(errors="replace").strip().splitlines()
            return lines[-1].replace("\0", "")[:200] if lines else ""
        return ""

    # -- after -------------------------------------------------------------------------------------------------------
    def _trying(self, call: Callable[[], Json]) -> Json:
        """Until it is delivered, or the job is told lost. Raises Said, Away."""
        return keep_trying(call, stop=self.lost, tell=lambda said: self.tell("away", error=said))

    def _upload(self) -> None:
        for file in sorted((self.folder / "artifacts").iterdir()):
            if file.is_file() and not file.is_symlink():
                self._trying(partial(self._put, file))

    def _put(self, file: Path) -> None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        with file.open("rb") as data:
            self.server.send("PUT", f"{self.path}/artifacts/{part(file.name)}?fence={self.fence}", data, kind)

    def _complete(self) -> str:
        file = self.folder / "output.json"
        try:
            if file.exists() and file.stat().st_size > MAX_OUTPUT:
                return self._fail("limit", f"The output has more than {MAX_OUTPUT} bytes; leave a file instead.")
            output = json.loads(file.read_bytes()) if file.exists() else None
        except (ValueError, RecursionError) as error:
            return self._fail("contract", f"The output is no JSON: {error}")
        return self._end("complete", {"output": output}, "done")

    def _fail(self, cls: str, message: str, retry: bool | None = None) -> str:
        body = {"class": cls, "message": message[:2000].replace("\0", ""), "retry": retry}
        return self._end("fail", body, "cancelled" if cls == "cancelled" else "failed")

    def _end(self, how: str, body: dict[str, Json], state: str) -> str:
        try:
            told = self._trying(lambda: self.server.ask("POST", f"{self.path}/{how}", {"fence": self.fence, **body}))
        except Away:
            return "lost"
        except Said as error:
            if how == "complete" and error.status in (400, 413, 422):
                cls = "contract" if error.code == "output_schema" else "limit"
                return self._fail(cls, f"The output was refused: {error} {json.dumps(error.details)[:500]}")
            return self._refused(error)
        return str(told["state"] or state)

    def _refused(self, error: Said) -> str:
        if error.status in (404, 409, 410):
            self.tell("lost", error=str(error))
            return "lost"
        self.tell("refused", error=str(error))
        return "lost" if error.status in (401, 403) else self._fail("internal", f"Orchestra refused: {error}")

    def _last_line(self) -> str:
        with (self.folder / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 500))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""


def _with_parent() -> Callable[[], object] | None:
    """On Linux the process goes when the runner does, however that ends: another runner is to have its job."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGKILL, 0, 0, 0)


def _kill(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end(process: subprocess.Popen[bytes]) -> int:
    """TERM, then KILL, for all of its group; only KILL for what it left behind."""
    if process.poll() is None:
        _kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _kill(process.pid, signal.SIGKILL)
    return process.wait()
