"""The pydantic models of language 1. What they accept is what a flow may say; nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from flows.definition.models_events import EventTrigger
from flows.definition.models_time import FlowTimes, StepTimes, Time
from flows.definition.models_webhook import Condition, WebhookTrigger
from flows.steps.base import ERROR_CLASSES
from flows.steps.fields import Config, Duration, Json, Plain, StepId, Templated, TJson
from flows.steps.function.config import FunctionModel, FunctionName

MAX_STEPS = 500
SLUG = r"^[a-z][a-z0-9-]{0,62}$"
Slug = Annotated[str, Field(pattern=SLUG)]
Line = Annotated[Plain, Field(max_length=300)]


def _error_class(name: str) -> str:
    if name not in ERROR_CLASSES:
        raise ValueError(f"{name[:40]!r} is not an error class; there are {', '.join(ERROR_CLASSES)}")
    return name


ErrorClass = Annotated[str, AfterValidator(_error_class), Field(json_schema_extra={"enum": list(ERROR_CLASSES)})]


class RetryModel(Config):
    """How a failed attempt is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="attempts in all, the first included"
    )
    initial: Duration = Field(default=1.0, description="the longest wait before the second attempt")
    factor: Annotated[float, Field(ge=1, le=10)] = Field(default=2.0, description="what the wait grows by each time")
    max: Duration = Field(default=60.0, description="the longest wait")
    jitter: Literal["full", "none"] = Field(default="full", description="full: a random share of the wait")
    window: Duration | None = Field(default=None, description="no attempt starts later than this after the first")
    on: list[ErrorClass] = Field(default_factory=list, description="only these error classes; else all that can help")
    give_up_on: list[ErrorClass] = Field(default_factory=list, description="error classes that end the step at once")


class FailureOf(Config):
    """Runs after a failure of certain kinds only."""

    failure_of: Annotated[list[ErrorClass], Field(min_length=1)] = Field(
        description="error classes: run when one of the needs failed with one of them"
    )


class CheckModel(Config):
    """A contract in one expression."""

    if_: Annotated[str, Templated()] = Field(alias="if", description="an expression that must hold")
    message: Annotated[Plain, Field(max_length=300)] = Field(default="", description="what to say when it does not")


def _form(value: object) -> str:
    """Which of two ways something is written: as one word, or with keys. A mistake is then said once."""
    return "word" if isinstance(value, str) else "keys"


WhenModel = Annotated[
    Annotated[Literal["success", "failure", "always"], Tag("word")] | Annotated[FailureOf, Tag("keys")],
    Discriminator(_form),
]
OneCheck = Annotated[
    Annotated[str, Templated(), Tag("word")] | Annotated[CheckModel, Tag("keys")],
    Discriminator(_form),
]
Checks = Annotated[list[OneCheck], Field(max_length=20)]


class ForEachModel(Config):
    """Runs the step once for each item, in parallel; `item` and `item_index` are in scope."""

    items: Annotated[list[Json], Templated()] = Field(description="a list, or an expression that gives one")
    max_parallel: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="how many at a time")
    on_item_error: Literal["fail", "continue"] = Field(
        default="fail", description="continue: the others decide nothing"
    )
    batch: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="items of one step run: `item` is a list of at most so many"
    )
    key: Annotated[str, Templated()] | None = Field(
        default=None, description="an expression over `item`: items with the same value run one by one, in order"
    )

    @model_validator(mode="after")
    def _one_of(self) -> ForEachModel:
        if self.batch is not None and self.key is not None:
            raise ValueError("`batch` and `key` do not go together: a batch has no key of its own")
        return self


class ConcurrencyModel(Config):
    """How many runs with the same key may be active at a time; others wait in line."""

    key: TJson = Field(default=None, description="an expression; runs with the same value share the limit")
    limit: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="active runs of one key")
    on_conflict: Literal["queue", "skip", "cancel_running", "fail"] = Field(
        default="queue",
        description="no place is free. queue: wait in line; skip: start nothing; cancel_running: the older run is "
        "cancelled; fail: refuse the start",
    )


Priority = Annotated[int, Field(ge=-10, le=10)]
QueueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class BudgetModel(Config):
    """What the language models of one run may use; a step that would begin beyond it fails with class `budget`."""

    tokens: Annotated[int, Field(ge=1, le=10**9)] | None = Field(default=None, description="tokens, in and out")
    cost: Annotated[float | int, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="US dollars, by the prices of the connections"
    )

    @model_validator(mode="after")
    def _something(self) -> BudgetModel:
        if self.tokens is None and self.cost is None:
            raise ValueError("give tokens or cost")
        return self


class DefaultsModel(Config):
    """Used by every step that does not say otherwise."""

    timeout: Annotated[Duration, Field(gt=0)] | None = Field(default=None, description="time limit of one attempt")
    retry: RetryModel | None = Field(default=None, description="how failed attempts are tried again")
    deadline: Time | None = Field(default=None, description="time limit of a step: all attempts, waits and rounds")
    sla: Time | None = Field(default=None, description="time after which people are alerted of a step")


Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]


class ManualTrigger(Config):
    """A person starts the flow; the form comes from the input schema."""


class UndoModel(Config):
    """Undoes the step: one family and its config stand beside these keys."""

    timeout: Annotated[Duration, Field(gt=0)] | None = Field(default=None, description="time limit of one attempt")
    retry: RetryModel | None = Field(default=None, description="how failed attempts are tried again")


class ScheduleTrigger(Config):
    """Starts the flow at times of day, weeks or months."""

    name: Slug = Field(default="schedule", description="tells several schedules of a flow apart")
    cron: Annotated[Plain, Field(max_length=100)] = Field(
        description="minute, hour, day of the month, month, day of the week: `0 6 * * 1-5`"
    )
    timezone: Annotated[Plain, Field(max_length=64, examples=["UTC", "Europe/Oslo"])] = Field(
        default="UTC", description="IANA time zone that the cron expression is read in"
    )
    overlap: Overlap = Field(default="skip", description="what a due time does while an earlier run still goes")
    catchup: Annotated[Duration, Field(ge=10)] = Field(
        default=3600.0, description="how late a start may be, after a downtime; what is older is left out"
    )
    jitter: Annotated[Duration, Field(le=86400)] = Field(
        default=0.0, description="each start comes up to this much later, always the same for a due time"
    )
    pause_on_failure: bool | Annotated[int, Field(ge=1, le=1000)] = Field(
        default=False, description="true, or how many failures in a row: the schedule then pauses itself"
    )
    input: dict[str, TJson] | None = Field(
        default=None, description="the run's input; expressions may read trigger.scheduled_at and others"
    )
    note: Annotated[Plain, Field(max_length=300)] = Field(default="", description="one line for people")

    @property
    def address(self) -> str:
        return self.name

    @property
    def failures_allowed(self) -> int:
        """Failures in a row that pause the schedule; 0: none do."""
        return int(self.pause_on_failure)


TRIGGERS: Mapping[str, type[BaseModel]] = {
    "manual": ManualTrigger,
    "webhook": WebhookTrigger,
    "schedule": ScheduleTrigger,
    "event": EventTrigger,
}


class StepModel(StepTimes):
    """What every step may say, whatever it does. The family key stands beside these."""

    id: StepId = Field(description="names the step in expressions and on pages")
    needs: list[StepId] | None = Field(
        default=None, description="steps that must end first; else the one before in the list"
    )
    if_: Condition = Field(default=True, alias="if", description="false: the step is skipped")
    join: Literal["any", "all"] | Annotated[int, Field(ge=1, le=MAX_STEPS)] = Field(
        default="all", description="any, all or a number: how many of its needs must succeed before it starts"
    )
    when: WhenModel = Field(
        default="success", description="run after which end of its needs; {failure_of: [timeout]} names error classes"
    )
    for_each: ForEachModel | None = Field(default=None, description="run once for each item")
    timeout: Annotated[Duration, Field(gt=0)] | None = Field(default=None, description="time limit of one attempt")
    retry: RetryModel | None = Field(default=None, description="how failed attempts are tried again")
    irreversible: bool = Field(default=False, description="true: needs an approval that protects it")
    priority: Priority | None = Field(default=None, description="-10 to 10, higher is sooner; else the run's")
    queue: QueueName | None = Field(
        default=None, description="only workers that serve it take the step; else the flow's"
    )
    fallback: dict[str, Json] | None = Field(
        default=None,
        description="when the attempts are spent: {value: …}, another family and its config, or {last_good: true}; "
        "`on` names the error classes it stands in for",
    )
    output: dict[str, Json] | None = Field(default=None, description="JSON Schema of the output; of each item's")
    requires: Checks = Field(default_factory=list, description="expressions that must hold before an attempt starts")
    ensures: Checks = Field(
        default_factory=list, description="expressions that must hold of the output, steps.<its own id>.output"
    )
    effect: Literal["none", "idempotent", "once"] | None = Field(
        default=None,
        description="what a repeat adds: none: nothing; idempotent: nothing, with the same key; once: never repeated "
        "while unsure; else what the family knows",
    )
    already_done: dict[str, Json] | None = Field(
        default=None,
        description="asked before a repeat whose predecessor may have acted: a family and its config, `if` over "
        "`check.output`, and the `output` to use then",
    )
    compensate: dict[str, Json] | None = Field(
        default=None, description="what undoes the step: a family and its config, with timeout and retry of its own"
    )


VarName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class FlowModel(FlowTimes):
    """One flow."""

    language: Literal[1] = Field(default=1, description="version of the definition language")
    flow: Slug = Field(description="the slug: small letters, digits and -; stable for ever")
    title: Line = Field(default="", description="one line for people; without it, the slug is shown")
    folder: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9 _./-]{0,199}$")] = Field(
        default="", description="permissions are granted on folders"
    )
    owner: Line = Field(default="", description="who answers for the flow: a person or a team")
    description: Annotated[Plain, Field(max_length=20_000)] = Field(default="", description="Markdown")
    labels: dict[Annotated[str, Field(max_length=63)], Line] = Field(default_factory=dict, description="for filters")
    runbook: Annotated[Plain, Field(max_length=20_000)] = Field(
        default="", description="what to do when it fails: text or link"
    )
    input: dict[str, Json] = Field(default_factory=dict, description="JSON Schema of the input")
    vars: Annotated[dict[VarName, dict[str, Json]], Field(max_length=50)] = Field(
        default_factory=dict,
        description="the variables it reads as vars.<name>, each with its JSON Schema; a `default` in it holds where "
        "no value is set",
    )
    output: TJson = Field(default=None, description="what a run gives: a value with expressions")
    budget: BudgetModel | None = Field(default=None, description="what the language models of one run may use")
    functions: Annotated[dict[FunctionName, FunctionModel], Field(max_length=100)] = Field(
        default_factory=dict, description="functions that steps use by their name"
    )
    concurrency: ConcurrencyModel | None = Field(default=None, description="how many runs at a time")
    compensate: Annotated[list[Literal["cancel", "failure", "deadline"]], Field(max_length=3)] = Field(
        default=["cancel"], description="the ends at which what was done is undone"
    )
    max_queued: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="runs that have not begun; with so many a start is refused (429)"
    )
    priority: Priority = Field(default=0, description="-10 to 10, higher is sooner")
    queue: QueueName = Field(default="default", description="only workers that serve it take the flow's steps")
    on_new_release: Literal["coexist", "drain", "supersede"] = Field(
        default="coexist",
        description="when this release goes live. drain: its runs wait until those of older releases have ended; "
        "supersede: those are cancelled",
    )
    defaults: DefaultsModel = Field(default_factory=DefaultsModel, description="for every step")
    triggers: Annotated[list[dict[str, Json]], Field(max_length=20)] = Field(
        default_factory=list, description="what starts the flow"
    )
    steps: Annotated[list[dict[str, Json]], Field(min_length=1, max_length=MAX_STEPS)] = Field(
        description="what happens, in order"
    )
