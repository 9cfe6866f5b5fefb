"""Kinds of connections, registered once: typed settings, the secrets they name, and a try of them.

A kind is a module of this package with its settings (pydantic, pure), and one entry here. What a try does is imported
when somebody asks for it, so that no process pays for libraries that it does not use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import get_args

from pydantic import BaseModel

from resources.connection_settings import ConnectionSettings, HttpSettings, SecretName
from resources.kinds.databases import MysqlSettings, PostgresSettings, SqliteSettings
from resources.kinds.llm import LlmSettings
from resources.kinds.notify import AppriseSettings, SmtpSettings
from resources.kinds.ssh import SshSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """`probe`: "module:function" of a function (ConnectionRef) -> resources.probe.Tested that changes nothing outside
    and ends within a few seconds."""

    name: str
    title: str
    summary: str
    Settings: type[ConnectionSettings]
    probe: str
    icon: str = "plug"  # id of an icon in the sprite


_ALL = (
    Kind("http", "HTTP", "An HTTP API: its address and how requests show who sends them.", HttpSettings,
         "resources.probe:http"),
    Kind("ssh", "SSH", "An account on a server, where steps run commands.", SshSettings, "resources.ssh_probe:ssh",
         "terminal"),
    Kind("postgres", "PostgreSQL", "A PostgreSQL database, for db steps.", PostgresSettings,
         "resources.databases.probe:test", "db"),
    Kind("mysql", "MySQL or MariaDB", "A MySQL or MariaDB database, for db steps.", MysqlSettings,
         "resources.databases.probe:test", "db"),
    Kind("sqlite", "SQLite", "A SQLite file inside the data directory, for db steps.", SqliteSettings,
         "resources.databases.probe:test", "db"),
    Kind("llm", "Language model", "Models of OpenAI, Anthropic, or a server that speaks as they do.", LlmSettings,
         "resources.kinds.llm_probe:probe", "comment"),
    Kind("smtp", "E-mail", "A server that takes e-mail, for notify steps.", SmtpSettings,
         "resources.notify_probe:smtp", "mail"),
    Kind("apprise", "Chat and push", "A place of a chat or push service, for notify steps.", AppriseSettings,
         "resources.notify_probe:apprise", "comment"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def secrets_of(settings: BaseModel) -> set[str]:
    """The names of all secrets that the settings, or a model in them, name by a field of type SecretName."""
    return {name for name in _named(settings) if name}


def _named(model: BaseModel) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        yield from _in_value(value, SecretName.marked(field.metadata) or _marked(field.annotation))


def _in_value(value: object, marked: bool) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from _named(value)
    elif isinstance(value, str) and marked:
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _in_value(inner, marked)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _in_value(inner, marked)


def _marked(annotation: object) -> bool:
    """Is a secret's name somewhere in this type: `Annotated[str, SecretName()] | None`, a list of them?"""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return False  # its fields say for themselves
    if SecretName.marked(getattr(annotation, "__metadata__", ())):
        return True
    return any(_marked(part) for part in get_args(annotation))


def load(reference: str) -> object:
    """What "module:name" names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
