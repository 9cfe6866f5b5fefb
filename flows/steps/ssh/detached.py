"""Jobs that run by themselves on the other machine: starting, looking, following, ending them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flows.steps.base import Done, Fail, Json, Outcome, Retry, StepContext, StepError
from flows.steps.ssh import remote
from flows.steps.ssh.attached import callback_of, environment, failed, judged, stdin_of
from flows.steps.ssh.outputs import Output
from flows.steps.ssh.session import Command, Ended, run
from flows.steps.ssh.talking import Line, broken, new_mark
from resources.ssh_client import SshUnreachable

if TYPE_CHECKING:
    import asyncssh

MOST = 1024 * 1024  # bytes of each stream in one look
EVERY = 1.0  # seconds between two looks at a job that runs
AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each try to get the connection back
ABSENT, NOT_UP, NO_ROOM = 72, 75, 71  # exit codes of our own scripts


@dataclass(frozen=True, slots=True)
class Job:
    """As the server describes it. state: running | ended | lost (gone without an exit code, as after a restart)."""

    id: str
    state: str
    exit_code: int | None
    pid: int
    dir: str
    sizes: tuple[int, int]
    sent: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Json]:
        facts = {"job": self.id, "state": self.state, "exit_code": self.exit_code, "pid": self.pid, "dir": self.dir}
        return {**facts, "stdout_bytes": self.sizes[0], "stderr_bytes": self.sizes[1]}


class Interrupted(Exception):
    """A look did not get through."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def start(line: Line) -> Outcome:
    """Started by whichever attempt comes first; later ones are told of the same job."""
    ctx, job, mark = line.ctx, remote.job_of(line.ctx.key), new_mark()
    text = remote.start(job, ctx.action.config["command"], environment(ctx), callback_of(ctx), mark)
    with contextlib.closing(line.output("stdout")) as out, contextlib.closing(line.output("stderr")) as err:
        with stdin_of(ctx) as stdin:
            command = Command(text, mark, out, err, stdin)
            ended = line.call(lambda c: run(c, command, seconds=line.left(), stop=ctx.cancelled))
        if ended.exit_code == NOT_UP and not ended.why:
            return Retry(StepError("network", f"The job {job} on {line.access.place} did not come up within 5 s."))
        if ended.exit_code == NO_ROOM and not ended.why:
            return Fail(
                StepError("exit", f"{line.access.place} cannot keep a job: {err.end(line.ctx.masked).strip()[-300:]}")
            )
        if found := broken(line, ended):
            return found
    pid, _, place = ended.line.partition(" ")
    ctx.log(f"the job {job} runs on {line.access.place}, process group {pid}, in {place}")
    return Done({"job": job, "pid": int(pid), "dir": place})


def about(line: Line) -> Outcome:
    """status, collect or cancel."""
    action = line.ctx.action.config["action"]
    with contextlib.closing(line.output("stdout")) as out, contextlib.closing(line.output("stderr")) as err:
        try:
            if action == "collect":
                return _collect(line, out, err)
            job = line.call(lambda c: _looked(line, c, ends=action == "cancel"))
        except Interrupted as interrupted:
            return _absent(line, interrupted) if action == "cancel" else interrupted.outcome
        return Done(job.to_json())


def _absent(line: Line, interrupted: Interrupted) -> Outcome:
    """There may be nothing to undo."""
    outcome = interrupted.outcome
    if isinstance(outcome, Fail) and outcome.error.cls == "input":
        return Done({"job": line.ctx.action.config["job"], "state": "absent"})
    return outcome


def _collect(line: Line, out: Output, err: Output) -> Outcome:
    ctx = line.ctx
    left = ctx.previous_checkpoint or {}
    if left.get("job") == ctx.action.config["job"]:
        out.quiet, err.quiet = left["shown"]
    job = line.call(lambda c: _followed(line, c, out, err))
    more = {name: value for name, value in job.to_json().items() if name != "exit_code"}
    if job.state == "lost":
        return failed(ctx, "is gone, and left no exit code", more, out, err)
    ended = Ended(began=True, exit_code=job.exit_code)
    if job.state == "running":
        ended = replace(ended, exit_code=ctx.action.config["ok"][0])
    judgement = judged(ctx, ended, out, err, more)
    if job.state == "running" and isinstance(judgement, Done):
        judgement.output["exit_code"] = None
    return judgement


async def _followed(line: Line, connection: asyncssh.SSHClientConnection, out: Output, err: Output) -> Job:
    """To its end where that is asked for; a connection that breaks is opened again, and goes on where it was."""
    tries = 0
    work = _read(line, connection, out, err)
    while True:
        try:
            return await work
        except (Interrupted, SshUnreachable) as error:
            lost = isinstance(error, SshUnreachable) or _is_network(error.outcome)
            if not lost or tries == len(AGAIN) or await _stopped(line.ctx, AGAIN[tries]):
                raise
            tries += 1
            line.ctx.log(f"the connection to {line.access.place} broke at byte {out.size}; it is opened again")
        work = line.call_again(lambda c: _read(line, c, out, err))


def _is_network(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and outcome.error.cls == "network"


async def _read(line: Line, connection: asyncssh.SSHClientConnection, out: Output, err: Output) -> Job:
    ctx = line.ctx
    while True:
        job = await _look(line, connection, out, err)
        ctx.checkpoint({"job": job.id, "shown": [out.size, err.size]})
        behind = out.size < job.sizes[0] or err.size < job.sizes[1]
        if behind and any(job.sent):
            continue
        if job.state != "running" or not ctx.action.config["follow"]:
            return job
        ctx.heartbeat()
        if await _stopped(ctx, EVERY) or not line.left():
            ended = Ended(why="stopped" if ctx.cancelled.is_set() else "timeout", began=True)
            raise Interrupted(broken(line, ended) or Retry(StepError("timeout", "The time was up.")))


async def _stopped(ctx: StepContext, seconds: float) -> bool:
    return await asyncio.to_thread(ctx.cancelled.wait, min(seconds, max(0.05, ctx.remaining())))


async def _looked(line: Line, connection: asyncssh.SSHClientConnection, *, ends: bool) -> Job:
    """Without its output; ended first where that is asked for."""
    job = line.ctx.action.config["job"]
    with contextlib.closing(line.output("stdout")) as out, contextlib.closing(line.output("stderr")) as err:
        if ends:
            await connection.run(remote.cancel(job), check=False, encoding=None, timeout=max(1.0, line.left()))
        return await _look(line, connection, out, err, most=0)


async def _look(
    line: Line, connection: asyncssh.SSHClientConnection, out: Output, err: Output, most: int = MOST
) -> Job:
    """One look, with what is new of the outputs. Raises Interrupted."""
    ctx, mark = line.ctx, new_mark()
    name = ctx.action.config["job"]
    new = Output("stdout", 4 * MOST, lambda text: None)
    noise = Output("stderr", MOST, lambda text: None)
    with contextlib.closing(new), contextlib.closing(noise):
        text = remote.look(name, (out.size, err.size), most, mark)
        ended = await run(connection, Command(text, mark, new, noise), seconds=line.left(), stop=ctx.cancelled)
        if ended.exit_code == ABSENT and not ended.why:
            said = f"There is no job {name} on {line.access.place}."
            raise Interrupted(Fail(StepError("input", said)))
        if found := broken(line, ended):
            raise Interrupted(found)
        job = _job(name, ended.line)
        new.file.seek(0)
        for output, size in zip((out, err), job.sent, strict=True):
            output.feed(new.file.read(size))
        return job


def _job(name: str, line: str) -> Job:
    state, code, pid, out, err, sent_out, sent_err, place = line.split(" ", 7)
    return Job(
        name, state, int(code) if code.isdecimal() else None, int(pid), place,
        (int(out), int(err)), (int(sent_out), int(sent_err)),
    )  # fmt: skip
