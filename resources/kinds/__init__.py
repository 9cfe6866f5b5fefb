"""Kinds of connections, registered once: typed settings, the secrets they name, and a try of them.

A kind is a module of this package with its settings (pydantic, pure), and one entry here. What a try does is imported
when somebody asks for it, so that no process pays for libraries that it does not use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from pydantic import BaseModel

from resources.connection_settings import ConnectionSettings, HttpSettings, SecretName


@dataclass(frozen=True, slots=True)
class Kind:
    """`probe`: "module:function" of a function (ConnectionRef) -> resources.probe.Tested that changes nothing outside
    and ends within a few seconds."""

    name: str
    title: str
    summary: str
    Settings: type[ConnectionSettings]
    probe: str


_ALL = (
    Kind("http", "HTTP", "An HTTP API: its address and how requests show who sends them.", HttpSettings,
         "resources.probe:http"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}


def secrets_of(settings: BaseModel) -> set[str]:
    """The names of all secrets that the settings, or a model in them, name by a field of type SecretName."""
    return {name for name in _named(settings) if name}


def _named(model: BaseModel) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _named(value)
        elif SecretName.marked(field.metadata):
            yield value or ""


def load(reference: str) -> object:
    """What "module:name" names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
