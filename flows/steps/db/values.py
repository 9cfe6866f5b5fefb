"""The values of a statement as its driver binds them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.steps.base import Refused
from flows.steps.db import sql

Json = Any
_MOST = 10_000  # values of a list behind IN


@dataclass(frozen=True, slots=True)
class Bound:
    text: str
    params: dict[str, Any]
    lists: tuple[str, ...]
    first: str


def bind(kind: str, text: str, params: Mapping[str, Json]) -> Bound:
    """Raises Refused for a value that cannot stand where it does."""
    statement = sql.read(text)
    bound = {name: _value(kind, name, params[name], name in statement.lists) for name in statement.names}
    lists = tuple(sorted(name for name in statement.lists if isinstance(bound[name], list)))
    if alone := statement.lists - set(lists):
        raise Refused(f"`IN :{min(alone)}` takes a list; use = for one value.")
    return Bound(statement.text, bound, lists, statement.first)


def _value(kind: str, name: str, value: Json, is_list: bool) -> Any:
    if isinstance(value, list) and is_list:
        if not value:
            raise Refused(f"The list {name} is empty, and SQL has no empty IN; leave the step out with `if`.")
        if len(value) > _MOST or any(isinstance(item, list | dict) for item in value):
            raise Refused(f"The list {name} behind IN has plain values, {_MOST} at most.")
        return value
    if kind == "postgres":
        return _for_postgres(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _for_postgres(value: Json) -> Any:
    """A list of plain values is an array, every other structure is jsonb."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(i, list | dict) for i in value)):
        from psycopg.types.json import Jsonb

        return Jsonb(value)
    return value
