"""call: a run of another flow, pinned to a release when the action is worked out."""

from __future__ import annotations

import json
from typing import ClassVar, cast

from django.db.models import F
from pydantic import BaseModel

from flows.definition.inputs import JsonError, validate_input, with_defaults
from flows.models import Release
from flows.plans import plan_of
from flows.steps.base import Action, Fail, Family, Json, Outcome, Refused, StepContext, StepError, Wait
from flows.steps.call.config import CallConfig

MAX_SHOWN = 200  # characters of the input in a sentence


class CallFamily(Family):
    name: ClassVar[str] = "call"
    Config: ClassVar[type[BaseModel]] = CallConfig
    title: ClassVar[str] = "Child flow"
    summary: ClassVar[str] = "Runs another flow, pinned to a release, and waits for its end without holding a worker."
    icon: ClassVar[str] = "flow"
    honours_key: ClassVar[bool] = True  # one child for each pass, whatever is killed

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        return cast(CallConfig, config).model_dump(mode="json", by_alias=True)

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """With the release it will run. Raises Refused where there is none."""
        rows = Release.objects.filter(flow__slug=config["flow"])
        if config["release"] is None:
            rows = rows.filter(pk=F("flow__live_id"))
        else:
            rows = rows.filter(version=config["release"])
        version = rows.values_list("version", flat=True).first()
        if version is None:
            what = f"no release {config['release']}" if config["release"] else "no live release"
            raise Refused(f"The flow {config['flow']!r} has {what}; release it, or name another one")
        return {**config, "release": version}

    def describe(self, action: Action) -> str:
        given = json.dumps(action.config["input"], ensure_ascii=False)
        given = given if len(given) <= MAX_SHOWN else given[: MAX_SHOWN - 1] + "…"
        return f"Runs the flow {action.config['flow']} {action.config['release']} with {given}"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        found = Release.objects.filter(flow__slug=config["flow"], version=config["release"])
        row = found.values_list("pk", "checksum", "flow__folder").first()
        if row is None:
            return Fail(StepError("refused", f"The flow {config['flow']} has no release {config['release']}."))
        schema = plan_of(row[0], row[1]).input_schema
        try:
            value = with_defaults(schema, config["input"])
            problems = validate_input(schema, value)
        except JsonError as error:
            return Fail(StepError("input", f"The input of {config['flow']} cannot be used: {error}"))
        if problems:
            said = f"The input breaks the input schema of {config['flow']} {config['release']}."
            return Fail(StepError("input", said, problems))
        ctx.log(f"Starts {config['flow']} {config['release']}")
        spec = {"release": row[0], "flow": config["flow"], "version": config["release"], "input": config["input"],
                "on_parent_close": config["on_parent_close"]}  # fmt: skip
        return Wait(kind="child", timeout=config["timeout"], spec=spec)
