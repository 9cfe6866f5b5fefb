"""kv: small values that outlive a run. A repeated key gets the first answer, so an attempt may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django.db import OperationalError
from pydantic import BaseModel

from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Retry, StepContext, StepError
from flows.steps.kv.config import KvConfig
from resources import kv
from resources.errors import OrchestraError, TooLarge

_VERBS = {
    "get": "Reads",
    "set": "Writes",
    "compare_and_set": "Writes, if nobody else has,",
    "append": "Adds to",
    "increment": "Adds to",
    "delete": "Removes",
}


class KvFamily(Family):
    name: ClassVar[str] = "kv"
    Config: ClassVar[type[BaseModel]] = KvConfig
    title: ClassVar[str] = "Key-value"
    summary: ClassVar[str] = "Reads, writes, counts, collects, lists or removes small values that outlive the run."
    icon: ClassVar[str] = "kv"
    honours_key: ClassVar[bool] = True

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(KvConfig, config)
        operation = config.operation
        return {operation: getattr(config, operation).model_dump(mode="json")}

    def changes(self, action: Action) -> bool:
        return not {"get", "list"} & set(action.config)

    def describe(self, action: Action) -> str:
        ((operation, args),) = action.config.items()
        where = f"of {args['namespace']}" if args["namespace"] else "of this flow"
        if operation == "list":
            return f"Lists the values {args['prefix']}… {where}"
        amount = f": {args['value']}" if operation == "increment" else ""
        return f"{_VERBS[operation]} the value {args['key']} {where}{amount}"

    def execute(self, ctx: StepContext) -> Outcome:
        ((operation, args),) = ctx.action.config.items()
        try:
            return Done(_run(operation, args, ctx))
        except TooLarge as e:
            return Fail(StepError("limit", e.message))
        except OrchestraError as e:
            return Fail(StepError("input", e.message, e.details))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database did not answer: {e}"))


def namespace_of(flow: str, name: str | None) -> str:
    """Where a value lives: a flow's own values and shared ones can never meet."""
    return f"shared:{name}" if name else f"flow:{flow}"


def _run(operation: str, args: Mapping[str, Json], ctx: StepContext) -> Json:
    space: dict[str, Any] = {"namespace": namespace_of(ctx.flow, args["namespace"]), "now": ctx.now}
    if operation == "list":
        entries, following = kv.listed(**space, prefix=args["prefix"], after=args["after"], limit=args["limit"])
        return {"entries": entries, "next": following or None}
    if operation == "get":
        value, version = kv.entry(**space, key=args["key"])
        return {"found": version > 0, "value": value, "version": version}
    return _write(operation, args, {**space, "key": args["key"], "idempotency_key": ctx.key})


def _write(operation: str, args: Mapping[str, Json], place: dict[str, Any]) -> Json:
    if operation == "delete":
        return kv.delete(**place)
    place["ttl"] = args["ttl"]
    if operation == "increment":
        return {"value": kv.increment(**place, by=args["value"])}
    if operation == "append":
        return kv.append(**place, value=args["value"], most=args["most"])
    if operation == "compare_and_set":
        return kv.compare_and_set(**place, value=args["value"], expect=args["expect"])
    return kv.set(**place, value=args["value"])
