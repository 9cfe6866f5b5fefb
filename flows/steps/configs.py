"""The configs of every family, by name. Pure: lint, schema and documentation read this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.definition import waiting
from flows.steps.approval.config import ApprovalConfig
from flows.steps.call.config import CallConfig
from flows.steps.db.config import DbConfig
from flows.steps.fields import RENDERED
from flows.steps.function.config import FunctionConfig
from flows.steps.http.config import HttpConfig
from flows.steps.job.config import JobConfig
from flows.steps.kv.config import KvConfig
from flows.steps.llm.config import LlmConfig
from flows.steps.notify.config import NotifyConfig
from flows.steps.route.config import RouteConfig
from flows.steps.search.config import SearchConfig
from flows.steps.sleep.config import SleepConfig
from flows.steps.ssh.config import SshConfig
from flows.steps.wait.config import WaitConfig

Json = Any

CONFIGS: Mapping[str, type[BaseModel]] = {
    "http": HttpConfig,
    "db": DbConfig,
    "function": FunctionConfig,
    "approval": ApprovalConfig,
    "wait": WaitConfig,
    "sleep": SleepConfig,
    "kv": KvConfig,
    "route": RouteConfig,
    "call": CallConfig,
    "ssh": SshConfig,
    "llm": LlmConfig,
    "notify": NotifyConfig,
    "search": SearchConfig,
    "job": JobConfig,
}


class ConfigError(Exception):
    """A rendered config breaks its family's schema. `path`: keys into the config, `message`: one sentence."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        where = ".".join(map(str, path))
        super().__init__(f"{where}: {message}" if where else message)
        self.path = path
        self.message = message


def normalise(family: str, config: Json) -> Json:
    """The long form of a short form: `sleep: 10m` is {"duration": "10m"}, `call: billing` is {"flow": "billing"}."""
    if family == "sleep" and isinstance(config, (str, int, float)) and not isinstance(config, bool):
        return {"duration": config}
    if family == "call" and isinstance(config, str):
        return {"flow": config}
    return waiting.normal(config) if family == waiting.FAMILY else config


def parse_config(family: str, rendered: Json) -> BaseModel:
    """The validated model of a rendered config. Raises ConfigError; KeyError for an unknown family."""
    return _validated(family, rendered, RENDERED)


def check_written(family: str, written: Json) -> BaseModel:
    """The same of a config that may still have expressions."""
    return _validated(family, written, {})


def _validated(family: str, config: Json, context: dict[str, bool]) -> BaseModel:
    model = CONFIGS[family]
    try:
        return model.model_validate(normalise(family, config), context=context)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(tuple(first["loc"]), message) from error
