"""A command that the attempt stays with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from flows.steps.base import Done, Fail, Json, Outcome, StepContext, StepError
from flows.steps.ssh import remote
from flows.steps.ssh.config import is_resource
from flows.steps.ssh.outputs import Output, kept
from flows.steps.ssh.session import Command, Ended, run
from flows.steps.ssh.talking import Line, broken, new_mark


def execute(line: Line) -> Outcome:
    ctx = line.ctx
    config, mark = ctx.action.config, new_mark()
    text = remote.attached(config["command"], environment(ctx), mark)
    out, err = line.output("stdout"), line.output("stderr")
    with contextlib.closing(out), contextlib.closing(err), stdin_of(ctx) as stdin:
        command = Command(text, mark, out, err, stdin)
        ended = line.call(lambda c: run(c, command, seconds=line.left(), stop=ctx.cancelled))
        return broken(line, ended) or judged(ctx, ended, out, err, {})


def judged(ctx: StepContext, ended: Ended, out: Output, err: Output, more: dict[str, Json]) -> Outcome:
    """What the exit code means, with the outputs kept as the step asks."""
    config = ctx.action.config
    seconds = round(ended.seconds, 3)
    how = f"was ended by the signal {ended.signal}" if ended.signal else f"ended with {ended.exit_code}"
    ctx.log(f"the command {how} after {seconds} s; {out.size} bytes of stdout, {err.size} of stderr")
    facts = {**more, "exit_code": ended.exit_code, "signal": ended.signal, "seconds": seconds}
    if ended.exit_code not in config["ok"]:
        return failed(ctx, how, facts, out, err)
    streams = {o.name: kept(o, config[o.name], config["max_bytes"], ctx) for o in (out, err)}
    return Done({**facts, **streams})


def failed(ctx: StepContext, how: str, facts: dict[str, Json], out: Output, err: Output) -> Outcome:
    ends = {o.name: o.end(ctx.masked) for o in (out, err)}
    last = next((text.strip().splitlines()[-1] for text in (ends["stderr"], ends["stdout"]) if text.strip()), "")
    said = f": {last[:300]}" if last else "."
    return Fail(StepError("exit", f"The command {how}{said}", {**facts, **ends}))


def environment(ctx: StepContext) -> dict[str, str]:
    config = ctx.action.config
    return remote.environment(ctx.key, ctx.run_id, ctx.step, callback_of(ctx), config["env"])


def callback_of(ctx: StepContext) -> str | None:
    name = ctx.action.config["callback"]
    return ctx.callback_url(name) if name else None


@contextlib.contextmanager
def stdin_of(ctx: StepContext) -> Iterator[BinaryIO | bytes]:
    """Raises Refused for a resource that this run may not read."""
    given = ctx.action.config["stdin"]
    if is_resource(given):
        with ctx.fetch(given).file as file:
            yield file
    else:
        yield (given or "").encode()
