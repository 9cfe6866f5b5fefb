"""db: a query, or a write in one transaction, exactly as it was resolved; values are bound, never pasted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast, get_args

from django.db import OperationalError
from pydantic import BaseModel

from flows.steps.base import Action, Fail, Family, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed, connection_of
from flows.steps.db import values
from flows.steps.db.config import DbConfig
from flows.steps.db.working import work
from resources.connections import ConnectionRef
from resources.kinds.databases import DatabaseSettings

MAX_SHOWN = 300  # characters of statements, and of values, in a sentence
MAX_IN_FULL, MAX_NAMED = 160, 48  # longer statements are cut, each to so many characters
_OF_READS = ("rest", "format")
_OF_WRITES = ("idempotent", "key_table", "expect", "max_changed")


class DbFamily(Family):
    name: ClassVar[str] = "db"
    Config: ClassVar[type[BaseModel]] = DbConfig
    title: ClassVar[str] = "Database"
    summary: ClassVar[str] = "Queries or changes a database, its values only ever bound, in one bounded transaction."
    icon: ClassVar[str] = "db"
    connection_kinds: ClassVar[tuple[str, ...]] = ("postgres", "mysql", "sqlite")

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(DbConfig, config)
        if not isinstance(connection, get_args(DatabaseSettings)):
            raise Refused(f"The connection {config.connection!r} is not a database (postgres, mysql or sqlite)")
        whole = config.model_dump(mode="json")
        own = {"params": whole["params"], "write": config.write}
        if config.write:
            own["statements"] = config.texts
        else:
            own["query"] = config.query
        bounds = ("max_rows", "max_cell_bytes", "max_bytes")
        return own | {key: whole[key] for key in (*bounds, *(_OF_WRITES if config.write else _OF_READS))}

    def changes(self, action: Action) -> bool:
        return bool(action.config.get("write"))

    def repeatable(self, action: Action, connection: BaseModel | None) -> bool:
        return not action.config["write"] or bool(action.config["idempotent"])

    def describe(self, action: Action) -> str:
        config = action.config
        texts = config["statements"] if config["write"] else [config["query"]]
        whole = [" ".join(text.split()) for text in texts]
        long = sum(map(len, whole)) > MAX_IN_FULL  # each is named, and read where the action is shown in full
        what = _short("; ".join(_short(text, MAX_NAMED) for text in whole) if long else "; ".join(whole))
        where = f" on the connection {action.connection['name']}" if action.connection else ""
        bound = ", ".join(f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in config["params"].items())
        verb = "Changes data with" if config["write"] else "Reads with"
        return f"{verb} {what}" + (f" where {_short(bound)}" if bound else "") + where + _bounds(config)

    def execute(self, ctx: StepContext) -> Outcome:
        try:
            ref = connection_of(ctx.action)
            return _checked(ctx, ref) or work(ctx, ref)
        except Refused as e:
            return Fail(StepError("refused", str(e)))
        except Changed as e:
            return Fail(StepError("conflict", str(e)))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database of this program did not answer: {e}"), acted=False)


def _bounds(config: Mapping[str, Any]) -> str:
    if not config["write"]:
        return ""
    if config["expect"] is not None:
        return f"; exactly {config['expect']['rows']} rows or nothing"
    return f"; at most {config['max_changed']} rows or nothing" if config["max_changed"] is not None else ""


def _short(text: str, most: int = MAX_SHOWN) -> str:
    """Cut between words where that leaves at least half of it."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    at = head.rfind(" ")
    return (head[:at] if at > most // 2 else head).rstrip() + "…"


def _checked(ctx: StepContext, ref: ConnectionRef) -> Outcome | None:
    """Values that cannot be bound fail before anything is sent."""
    try:
        for text in ctx.action.config.get("statements") or [ctx.action.config["query"]]:
            values.bind(ref.kind, text, ctx.action.config["params"])
    except Refused as e:
        return Fail(StepError("input", str(e)))
    return None
