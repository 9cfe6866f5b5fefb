"""Every step family, registered once. Lint, docs, resolve and the engine all ask here."""

from __future__ import annotations

import re

from pydantic import BaseModel

from flows.steps.approval.step import ApprovalFamily
from flows.steps.base import Family
from flows.steps.call.step import CallFamily
from flows.steps.db.step import DbFamily
from flows.steps.function.step import FunctionFamily
from flows.steps.http.step import HttpFamily
from flows.steps.job.step import JobFamily
from flows.steps.kv.step import KvFamily
from flows.steps.llm.step import LlmFamily
from flows.steps.notify.step import NotifyFamily
from flows.steps.route.step import RouteFamily
from flows.steps.search.step import SearchFamily
from flows.steps.sleep.step import SleepFamily
from flows.steps.ssh.step import SshFamily
from flows.steps.wait.step import WaitFamily

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


class MalformedFamily(TypeError):
    """A family that does not keep the contract of flows/steps/base.py; the message lists every breach."""


class UnknownFamily(LookupError):
    """No family of that name is registered."""


class Registry:
    """Families by name. A malformed or second member is refused when it is registered, not when a run meets it."""

    def __init__(self) -> None:
        self._members: dict[str, Family] = {}

    def register(self, cls: type[Family]) -> type[Family]:
        """Add a family. Raises MalformedFamily."""
        breaches = _breaches(cls)
        if not breaches and cls.name in self._members:
            breaches = [f"the name {cls.name!r} is taken"]
        if breaches:
            raise MalformedFamily(f"{getattr(cls, '__name__', cls)} cannot be a step family: {'; '.join(breaches)}.")
        self._members[cls.name] = cls()
        return cls

    def family(self, name: str) -> Family:
        """The family of that name. Raises UnknownFamily."""
        try:
            return self._members[name]
        except KeyError:
            known = ", ".join(sorted(self._members))
            raise UnknownFamily(f"There is no step family {name!r}; there are: {known}.") from None

    def all_families(self) -> list[Family]:
        """In the order of registration, which is the order of the documentation."""
        return list(self._members.values())


def _breaches(cls: object) -> list[str]:
    if not (isinstance(cls, type) and issubclass(cls, Family)):
        return ["it is not a Family class"]
    found = []
    name = getattr(cls, "name", None)
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        found.append("`name` must be a short lower-case word")
    found += _config_breaches(getattr(cls, "Config", None))
    title = getattr(cls, "title", None)
    if not (isinstance(title, str) and title.strip()):
        found.append("`title` is missing")
    summary = getattr(cls, "summary", None)
    if not (isinstance(summary, str) and summary.strip().endswith(".")):
        found.append("`summary` must be one sentence that ends with a full stop")
    if getattr(cls.execute, "__isabstractmethod__", False):
        found.append("`execute` is missing")
    return found


def _config_breaches(config: object) -> list[str]:
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        return ["`Config` must be a pydantic model"]
    if config.model_config.get("extra") != "forbid":
        return ["`Config` must forbid unknown keys"]
    return []


_registry = Registry()
for _cls in (
    HttpFamily, DbFamily, FunctionFamily, ApprovalFamily, WaitFamily, SleepFamily, KvFamily, RouteFamily, CallFamily,
    SshFamily, LlmFamily, NotifyFamily, SearchFamily, JobFamily,
):  # fmt: skip
    _registry.register(_cls)

family = _registry.family
all_families = _registry.all_families
