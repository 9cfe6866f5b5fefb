"""ssh: a command on another machine, or a job that runs there by itself. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from flows.steps.fields import Config, Json, Name, Size, StepId, TJson, TText

MAX_COMMAND = 100_000  # characters of a command with its environment: what every kernel takes in one argument
MAX_BYTES = 1024 * 1024  # of an output that is kept in the run
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}")

Reads = Literal["text", "lines", "json", "resource"]


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no command can carry a NUL character")
    return text


def _env(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not the name of an environment variable")
        if name.startswith("ORCHESTRA_"):
            raise ValueError(f"the variable {name} is set by Orchestra")
        _no_nul(value)
    return env


Word = Annotated[TText, AfterValidator(_no_nul)]


class SshConfig(Config):
    """One command, or one look at a detached job. Give exactly one of command and job."""

    connection: Name = Field(description="name of an ssh connection: server, account and known hosts")
    command: Annotated[list[Word], Field(min_length=1, max_length=1000)] | Word | None = Field(
        default=None,
        description="the program and its arguments, a list: each arrives as it is. With `shell: true`, a text",
    )
    shell: bool = Field(default=False, description="the command is a text for `sh -c`, not a list")
    env: Annotated[dict[str, TText], AfterValidator(_env), Field(max_length=100)] = Field(
        default_factory=dict, description="environment variables, besides `ORCHESTRA_…`"
    )
    stdin: TJson = Field(default=None, description="what the command reads: a text, or a resource (`res://…`)")
    ok: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        default=[0], min_length=1, max_length=256, description="exit codes that count as success"
    )
    stdout: Reads = Field(default="text", description="how to keep it: text, lines, json or resource")
    stderr: Reads = Field(default="text", description="how to keep it: text, lines, json or resource")
    max_bytes: Annotated[Size, Field(ge=1, le=MAX_BYTES)] = Field(
        default=64 * 1024, description="a larger output becomes a resource; its first and last lines stay"
    )
    max_output: Annotated[Size, Field(ge=1)] | None = Field(
        default=None, description="the most that either stream may say; more ends the command with class `limit`"
    )
    callback: StepId | None = Field(
        default=None, description="a step that waits for a callback: its address is in `ORCHESTRA_CALLBACK_URL`"
    )
    detached: bool = Field(
        default=False, description="start it and go on at once; it outlives the connection, and calls back at its end"
    )
    job: TText | None = Field(default=None, description="a detached job: `${{ steps.start.output.job }}`")
    action: Literal["status", "collect", "cancel"] = Field(default="status", description="what to do about the job")
    follow: bool = Field(default=False, description="collect waits for the job's end, showing what it says")

    @model_validator(mode="after")
    def _one_of(self) -> SshConfig:
        given = self.model_fields_set
        if (self.command is None) == (self.job is None):
            raise ValueError("give exactly one of command and job")
        if self.job is not None and (odd := given & {"shell", "env", "stdin", "callback", "detached"}):
            raise ValueError(f"{sorted(odd)[0]} goes with a command")
        if self.job is None and (odd := given & {"action", "follow"}):
            raise ValueError(f"{sorted(odd)[0]} goes with a job")
        if self.detached and (odd := given & {"stdout", "stderr", "max_bytes", "max_output", "ok"}):
            raise ValueError(f"{sorted(odd)[0]} belongs to the step that collects the job")
        if self.follow and self.action != "collect":
            raise ValueError("follow goes with action: collect")
        return self._command_fits()

    def _command_fits(self) -> SshConfig:
        if self.command is not None and isinstance(self.command, str) is not self.shell:
            raise ValueError("the command is a list; with `shell: true` it is a text")
        if isinstance(self.command, list) and not self.command[0]:
            raise ValueError("the first part of the command names a program")
        if sum(map(len, self.words)) + sum(len(n) + len(v) for n, v in self.env.items()) > MAX_COMMAND:
            raise ValueError(f"command and env have at most {MAX_COMMAND} characters; send more by stdin")
        if self.job is not None and "${{" not in self.job and not _JOB.fullmatch(self.job):
            raise ValueError("a job is named by the output of the step that started it")
        if self.stdin is not None and not (isinstance(self.stdin, str) or is_resource(self.stdin)):
            raise ValueError("stdin is a text or a resource")
        return self

    @property
    def words(self) -> list[str]:
        """The program and its arguments; none where it is about a job."""
        if isinstance(self.command, str):
            return ["sh", "-c", self.command]
        return list(self.command or ())


def is_resource(value: Json) -> bool:
    return isinstance(value.get("$res") if isinstance(value, dict) else value, str) and (
        isinstance(value, dict) or value.startswith("res://")
    )
