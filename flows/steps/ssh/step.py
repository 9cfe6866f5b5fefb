"""ssh: commands on other machines, attached or as jobs that run there by themselves."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import BaseModel

from flows.steps.base import Action, Family, Json, Outcome, Refused, StepContext
from flows.steps.pinning import pinned
from flows.steps.ssh import remote
from flows.steps.ssh.config import SshConfig, is_resource
from resources.kinds.ssh import SshSettings

_VERBS = {"status": "Looks at", "collect": "Collects what came of", "cancel": "Ends"}


class SshFamily(Family):
    name: ClassVar[str] = "ssh"
    Config: ClassVar[type[BaseModel]] = SshConfig
    title: ClassVar[str] = "SSH command"
    summary: ClassVar[str] = "Runs a command on another machine, or starts a job there that outlives the connection."
    icon: ClassVar[str] = "terminal"
    connection_kinds: ClassVar[tuple[str, ...]] = ("ssh",)

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(SshConfig, config)
        if not isinstance(connection, SshSettings):
            raise Refused(f"The connection {config.connection!r} is not an ssh connection")
        kept = {name: getattr(config, name) for name in ("ok", "stdout", "stderr", "max_bytes", "max_output")}
        if config.job is not None:
            return {"job": config.job, "action": config.action, "follow": config.follow, **kept}
        sent = {"command": config.words, "env": dict(config.env), "stdin": config.stdin, "callback": config.callback}
        return {**sent, "detached": True} if config.detached else {**sent, **kept}

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """A resource by what it is, not only by its name: people approve these very bytes."""
        if is_resource(config.get("stdin")):
            config["stdin"] = pinned(config["stdin"])
        return config

    def repeatable(self, action: Action, connection: BaseModel | None) -> bool:
        """A job is started once whatever happens, and looking at one or ending it may be repeated."""
        return "job" in action.config or "detached" in action.config

    def describe(self, action: Action) -> str:
        config, place = action.config, f"on {action.connection['name']}" if action.connection else ""
        if "job" in config:
            return f"{_VERBS[config['action']]} the job {config['job']} {place}"
        verb = "Starts a job" if "detached" in config else "Runs"
        return f"{verb} {place}: {remote.shown(config['command'])}"

    def execute(self, ctx: StepContext) -> Outcome:
        from flows.steps.ssh import attached, detached
        from flows.steps.ssh.talking import settled

        if "job" in ctx.action.config:
            return settled(ctx, detached.about)
        return settled(ctx, detached.start if "detached" in ctx.action.config else attached.execute)
