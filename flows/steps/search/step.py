"""search: what the folder's viewers could find, or what an engine finds on the web. Changes nothing."""

from __future__ import annotations

from typing import ClassVar, cast

from django.db import DatabaseError, OperationalError
from pydantic import BaseModel

from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.search.config import SearchConfig
from flows.steps.search.engines import ENGINES, NotResults, results
from resources.connection_settings import HttpSettings
from resources.errors import OrchestraError

#: bytes of an engine's answer
MAX_ANSWER = 4 * 1024 * 1024
_SHOWN = 200


class SearchFamily(Family):
    name: ClassVar[str] = "search"
    Config: ClassVar[type[BaseModel]] = SearchConfig
    title: ClassVar[str] = "Search"
    summary: ClassVar[str] = "Searches resources, runs, flows and connections, or the web through a connection."
    icon: ClassVar[str] = "search"
    connection_kinds: ClassVar[tuple[str, ...]] = ("http",)
    has_effect: ClassVar[bool] = False

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(SearchConfig, config)
        if config.connection is None:
            shown = config.model_dump(mode="json", by_alias=True)
            return {key: shown[key] for key in ("query", "in", "filters", "limit", "hydrate")}
        if not isinstance(connection, HttpSettings):
            raise Refused(f"The connection {config.connection!r} is not an http connection")
        return _request(config, connection.base_url)

    def describe(self, action: Action) -> str:
        query = " ".join(action.config["query"].split())
        where = ", ".join(action.config.get("in", ())) or "everything its folder's viewers see"
        if action.connection is not None:
            where = f"the web through {action.connection['name']}"
        return f"Searches {where} for {query if len(query) <= _SHOWN else query[: _SHOWN - 1] + '…'}"

    def execute(self, ctx: StepContext) -> Outcome:
        return _inside(ctx) if ctx.action.connection is None else _web(ctx)


def _request(config: SearchConfig, base_url: str) -> dict[str, Json]:
    """What is sent, as an http step has it, and how the answer is read."""
    from flows.steps.http import address

    engine = ENGINES[config.engine]
    query, body = engine.ask(config.query, config.limit)
    return {
        "engine": config.engine,
        "query": config.query,
        "limit": config.limit,
        "method": "GET" if body is None else "POST",
        "url": address.compose(base_url, engine.path, query),
        "headers": dict(engine.headers),
        **({} if body is None else {"json": body}),
        "ok": ["2xx"],
        "response": "json",
        "max_bytes": MAX_ANSWER,
    }


def _inside(ctx: StepContext) -> Outcome:
    try:
        found = ctx.search(ctx.action.config)
    except OrchestraError as e:
        return Fail(StepError("input", e.message, e.details))
    except Refused as e:
        return Fail(StepError("refused", str(e)))
    except OperationalError as e:
        return Retry(StepError("internal", f"The database did not answer: {e}"), acted=False)
    except DatabaseError as e:
        return Fail(StepError("input", f"The database does not understand the question: {e}"))
    ctx.log(f"{found['total']} found{' and more' if found['more'] else ''}, {len(found['hits'])} given")
    return Done(found)


def _web(ctx: StepContext) -> Outcome:
    from flows.steps.http.sending import Sender

    config = ctx.action.config
    outcome = Sender(ctx).outcome(config["url"])
    if not isinstance(outcome, Done):
        return outcome
    try:
        found = results(config["engine"], outcome.output["body"], config["limit"])
    except NotResults as e:
        return Fail(StepError("contract", f"The answer is not one of {config['engine']}: {e}."))
    ctx.log(f"{len(found)} results")
    return Done({"results": found})
