"""job: a wait that a runner answers. The job itself is made by the wait (runs/jobs)."""

from __future__ import annotations

import shlex
from typing import ClassVar, Final

from pydantic import BaseModel

from flows.steps.base import Action, Fail, Family, Json, Outcome, Refused, StepContext, StepError, Wait
from flows.steps.job.config import JobConfig
from resources.fields import dumps

MAX_INPUT: Final = 256 * 1024
MAX_SHOWN: Final = 200  # characters of what it does, in a sentence


class JobFamily(Family):
    name: ClassVar[str] = "job"
    Config: ClassVar[type[BaseModel]] = JobConfig
    title: ClassVar[str] = "Job"
    summary: ClassVar[str] = "Hands work to a runner on another machine, with a lease, and waits without a worker."
    icon: ClassVar[str] = "step"

    def describe(self, action: Action) -> str:
        config = action.config
        shown = "its own handler" if config["command"] is None else shlex.join(config["command"]).replace("\n", " ")
        return f"Has a runner with {', '.join(config['labels'])} run {_cut(shown)}{_given(config['input'])}"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        size = len(dumps(config["input"]).encode())
        if size > MAX_INPUT:
            said = f"The input of a job has {size} bytes; {MAX_INPUT} are allowed."
            return Fail(StepError("limit", f"{said} Hand it over as a file."))
        try:
            files = [_file(ctx, name, resource) for name, resource in config["files"].items()]
        except Refused as error:
            return Fail(StepError("refused", str(error)))
        ctx.log(f"In line for a runner with {', '.join(config['labels'])}")
        keys = ("labels", "input", "command", "env", "lease", "max_takeovers", "schema")
        return Wait(kind="job", timeout=config["timeout"], spec={
            **{key: config[key] for key in keys}, "files": files, "key": ctx.key,
        })  # fmt: skip


def _file(ctx: StepContext, name: str, resource: Json) -> dict[str, Json]:
    """Held for the run from here on. Raises Refused."""
    with ctx.fetch(resource).file:
        address = resource["$res"] if isinstance(resource, dict) else resource
    return {"name": name, "resource": str(address)}


def _given(job: Json) -> str:
    """What the runner is told is what an approval is about."""
    if isinstance(job, dict):
        said = ", ".join(f"{name} = {dumps(value)}" for name, value in job.items())
    else:
        said = "" if job is None else dumps(job)
    return f", given {_cut(said)}" if said else ""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
