"""kv: small values that outlive a run. A repeated key gets the first answer, so an attempt may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from django.db import OperationalError
from pydantic import BaseModel

from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Retry, StepContext, StepError
from flows.steps.kv.config import KvConfig
from resources import kv
from resources.errors import OrchestraError, TooLarge

_MISSING = object()


class KvFamily(Family):
    name: ClassVar[str] = "kv"
    Config: ClassVar[type[BaseModel]] = KvConfig
    title: ClassVar[str] = "Key-value"
    summary: ClassVar[str] = "Reads, writes, counts or removes a small value that outlives the run."
    icon: ClassVar[str] = "kv"
    honours_key: ClassVar[bool] = True

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(KvConfig, config)
        operation = config.operation[0]
        return {operation: getattr(config, operation).model_dump(mode="json")}

    def describe(self, action: Action) -> str:
        ((operation, args),) = action.config.items()
        where = f"of {args['namespace']}" if args["namespace"] else "of this flow"
        verb = {"get": "Reads", "set": "Writes", "delete": "Removes", "increment": "Adds to"}[operation]
        amount = f": {args['value']}" if operation == "increment" else ""
        return f"{verb} the value {args['key']} {where}{amount}"

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
    place = {"namespace": namespace_of(ctx.flow, args["namespace"]), "key": args["key"]}
    if operation == "get":
        value = kv.get(**place, default=_MISSING)
        return {"found": value is not _MISSING, "value": None if value is _MISSING else value}
    if operation == "set":
        return kv.set(**place, value=args["value"], idempotency_key=ctx.key)
    if operation == "increment":
        return {"value": kv.increment(**place, by=args["value"], idempotency_key=ctx.key)}
    return kv.delete(**place, idempotency_key=ctx.key)
