"""function: the author's Python in the sandbox. Pure: same input, time and seed, same output."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel

from flows.definition.inputs import validate_input
from flows.definition.jsonguard import JsonError
from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Retry, StepContext, StepError
from flows.steps.function import loops, sandbox, values
from flows.steps.function.config import FunctionConfig

_LOOP = Fail(StepError("code", "The value contains itself, which JSON cannot say; return a copy without that part."))


class FunctionFamily(Family):
    name: ClassVar[str] = "function"
    Config: ClassVar[type[BaseModel]] = FunctionConfig
    title: ClassVar[str] = "Function"
    summary: ClassVar[str] = "Runs a few lines of Python in a sandbox; the value of the last expression is the output."
    icon: ClassVar[str] = "function"
    has_effect: ClassVar[bool] = False
    pure: ClassVar[bool] = True

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        given = super().prepare(config, connection)
        return {k: v for k, v in given.items() if v is not None or k not in ("use", "takes", "gives")}

    def describe(self, action: Action) -> str:
        if "use" in action.config:
            return f"Computes a value with the flow's function {action.config['use']}, touching nothing outside"
        lines = str(action.config["code"]).strip().count("\n") + 1
        return f"Computes a value with {lines} {'line' if lines == 1 else 'lines'} of Python, touching nothing outside"

    def get_ready(self, ctx: StepContext) -> None:
        sandbox.get_ready(limits=_limits(ctx), now=ctx.now, seed=ctx.seed)

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        if (misfit := _misfit(config.get("takes"), config["input"], "input", "The input of the function")) is not None:
            return misfit
        run = partial(
            sandbox.run, names=variables(config["input"]), limits=_limits(ctx), now=ctx.now, seed=ctx.seed,
            stop=ctx.cancelled,
        )  # fmt: skip
        try:
            value, printed = run(config["code"])
            if loops.may_loop(value) and (question := loops.asking(config["code"])) and run(question)[0]:
                return _LOOP
        except sandbox.SandboxError as e:
            return _failed(e, cut_short=ctx.timeout < config["limits"]["time"])
        for line in printed.splitlines():
            ctx.log(line)
        done = _done(value)
        if not isinstance(done, Done):
            return done
        return _misfit(config.get("gives"), done.output, "contract", "What the function gives") or done


def _limits(ctx: StepContext) -> sandbox.Limits:
    limits = ctx.action.config["limits"]
    return sandbox.Limits(time=min(limits["time"], ctx.timeout), memory=limits["memory"])


def _misfit(schema: Json, value: Json, cls: str, what: str) -> Fail | None:
    """The failure of a value that its schema refuses."""
    if schema is None:
        return None
    try:
        problems = validate_input(schema, value)
    except JsonError as e:
        problems = [{"path": [], "message": str(e)}]
    if not problems:
        return None
    where = ".".join(map(str, problems[0]["path"]))
    said = f"{where}: {problems[0]['message']}" if where else problems[0]["message"]
    return Fail(StepError(cls, f"{what} breaks its schema: {said.rstrip('.')}.", {"problems": problems}))


def variables(given: Mapping[str, Json]) -> dict[str, Json]:
    """The names the code sees: `input` whole, and each of its keys that is not a word of the language."""
    return {"input": given, **{k: v for k, v in given.items() if not keyword.iskeyword(k)}}


def _done(value: Any) -> Outcome:
    try:
        return Done(values.to_json(value))
    except values.NotJson as e:
        return Fail(StepError("code", str(e)))
    except values.TooBig as e:
        return Fail(StepError("limit", str(e)))


def _failed(error: sandbox.SandboxError, *, cut_short: bool) -> Outcome:
    """`cut_short`: the attempt had less time left than the code's own limit, so a retry may help."""
    details = {"line": error.line} if error.line else None
    message = f"Line {error.line}: {error.message}" if error.line else error.message
    if isinstance(error, sandbox.SandboxBroken):
        return Retry(StepError("internal", message), acted=False)
    if isinstance(error, sandbox.LimitError):
        if error.timed_out and cut_short:
            return Retry(StepError("timeout", message, details), acted=False)
        return Fail(StepError("limit", message, details))
    return Fail(StepError("code", message, details))
