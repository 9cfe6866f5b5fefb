"""wait: until somebody calls back, an event comes, a moment, or the first of several."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import ClassVar, cast

from pydantic import BaseModel

from flows.definition import waiting
from flows.steps.base import Action, Family, Json, Outcome, StepContext, Wait
from flows.steps.wait.config import DAY, Option, WaitConfig, parse_moment


class WaitFamily(Family):
    name: ClassVar[str] = "wait"
    Config: ClassVar[type[BaseModel]] = WaitConfig
    title: ClassVar[str] = "Wait"
    summary: ClassVar[str] = "Waits for a call, a named event, a moment or the first of them, without holding a worker."
    icon: ClassVar[str] = "wait"
    has_effect: ClassVar[bool] = False

    def at_start(self, config: Json) -> Json:
        return waiting.without_match(config) if isinstance(config, dict) else config

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(WaitConfig, config)
        if config.first is None:
            return _prepared(config)
        ready: dict[str, Json] = {"first": {name: _prepared(option) for name, option in config.first.items()}}
        for option in ready["first"].values():
            for tree in option.values():
                if isinstance(tree, dict):
                    tree.pop("timeout", None)  # one for all of them
        has_moment = any("until" in option for option in ready["first"].values())
        timeout = config.timeout if config.timeout is not None or has_moment else DAY
        return {**ready, "timeout": timeout}

    def describe(self, action: Action) -> str:
        config = action.config
        if "first" in config:
            bound = f" up to {config['timeout']:g} seconds" if config["timeout"] is not None else ""
            return f"Waits{bound} for the first of: {', '.join(_what(o) for o in config['first'].values())}"
        if "until" in config:
            return f"Waits until {_moment(config['until'])}"
        own = config.get("callback") or config["event"]
        return f"Waits up to {own['timeout']:g} seconds for {_what(config)}"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        if "until" in config:
            return Wait(kind="timer", until=config["until"])
        if "callback" in config:
            return Wait(kind="callback", timeout=config["callback"]["timeout"], spec=_spec(config, ctx))
        if "event" in config:
            return Wait(kind="event", timeout=config["event"]["timeout"], spec=_spec(config, ctx))
        options = {name: _option(option, ctx) for name, option in config["first"].items()}
        ends = [o["until"] for o in options.values() if o["kind"] == "timer"]
        if config["timeout"] is not None:
            ends.append(ctx.now + config["timeout"])
        return Wait(kind="first", until=min(ends), spec={"of": options})


def _prepared(part: WaitConfig | Option) -> dict[str, Json]:
    if part.until is not None:
        return {"until": parse_moment(part.until)}
    kind = "callback" if part.callback is not None else "event"
    return {kind: getattr(part, kind).model_dump(mode="json", by_alias=True, exclude_none=True)}


def _option(option: dict[str, Json], ctx: StepContext) -> dict[str, Json]:
    kind = next(iter(option))
    return {"kind": "timer" if kind == "until" else kind, **_spec(option, ctx)}


def _spec(part: Mapping[str, Json], ctx: StepContext) -> dict[str, Json]:
    if "until" in part:
        return {"until": part["until"]}
    if "callback" in part:
        return {"url": ctx.callback_url(ctx.step)}
    return {"name": part["event"]["name"], "keep": part["event"]["keep"]}


def _what(part: Mapping[str, Json]) -> str:
    if "until" in part:
        return f"the moment {_moment(part['until'])}"
    if "event" in part:
        return f"an event {part['event']['name']}"
    return "a signed callback" if part["callback"].get("secret") else "a callback"


def _moment(epoch: float) -> str:
    return f"{dt.datetime.fromtimestamp(epoch, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
