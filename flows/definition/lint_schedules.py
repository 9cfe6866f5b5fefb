"""Lint of schedules: is each ever due, does its zone exist, does what it gives fit the flow's input?"""

from __future__ import annotations

from typing import Any, Final

from flows.definition import expr
from flows.definition.cron import CronError, next_times, parse_cron, scheduled, zone_of
from flows.definition.inputs import JsonError, schema_problems, validate_input, with_defaults
from flows.definition.models import ScheduleTrigger
from flows.definition.reader import Document
from flows.definition.yaml_source import Path

Json = Any
#: the moment that the sample of a due time comes after; any will do
SAMPLE_AFTER: Final = 1_900_000_000.0


def check(document: Document) -> None:
    """Reports `bad-cron`, `unknown-timezone` and `schedule-input`."""
    usable = not schema_problems(document.input_schema)
    for trigger in document.triggers:
        if isinstance(trigger.model, ScheduleTrigger):
            path: Path = ("triggers", trigger.index, "schedule")
            if _check_times(document, trigger.model, path) and usable:
                _check_input(document, trigger.model, path)


def _check_times(document: Document, model: ScheduleTrigger, path: Path) -> bool:
    fine = True
    try:
        parse_cron(model.cron)
    except CronError as error:
        document.report("bad-cron", (*path, "cron"), str(error), error.hint)
        fine = False
    try:
        zone_of(model.timezone)
    except CronError as error:
        document.report("unknown-timezone", (*path, "timezone"), str(error), error.hint)
        fine = False
    return fine


def _check_input(document: Document, model: ScheduleTrigger, path: Path) -> None:
    """What a trigger gives is known but for its time, so its input can be made and checked before it is due."""
    where = (*path, "input") if model.input is not None else path
    (at,) = next_times(model.cron, model.timezone, SAMPLE_AFTER, 1)
    try:
        given = input_of(model.input, scheduled(model.name, model.timezone, at, "due"))
        value = with_defaults(document.input_schema, given)
        problems = validate_input(document.input_schema, value)
    except (expr.ExprError, JsonError) as error:
        hint = "A schedule's expressions read trigger.scheduled_at, local_time, timezone, name, kind and cause."
        document.report("schedule-input", where, f"The input cannot be made: {error}", hint)
        return
    for problem in problems[:5]:
        place = ".".join(map(str, problem["path"]))
        said = f"The input does not fit the flow's schema{f' at `{place}`' if place else ''}: {problem['message']}."
        document.report("schedule-input", where, said, "Give it under `input` of the schedule, or a default.")


def input_of(given: dict[str, Json] | None, seen: dict[str, Json]) -> Json:
    """The run's input, with the trigger's expressions resolved. Raises ExprError."""
    return {} if given is None else expr.render(given, expr.Scope.of({"trigger": seen}))
