"""The shapes of the API of dead letters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Field, P, Schema

from resources.api import Input, Text, moment
from runs.dead import dismissing, letters, replays
from runs.dead.letters import Filter

Id = Annotated[int, P(ge=1, le=2**62)]
RunId = Annotated[Text, Field(min_length=1, max_length=26)]
Reason = Annotated[Text, Field(min_length=1, max_length=dismissing.MAX_REASON)]
Moment = Annotated[Text, Field(max_length=40, description="RFC 3339, such as 2026-01-31T08:00:00Z.")]


def moment_of(text: str | None, path: str) -> float | None:
    """Epoch seconds, or None. Raises BadInput."""
    return None if text is None else moment(text, path)


class FilterIn(Input):
    """What is left out does not narrow; `{}` is every dead letter."""

    error_class: Text = Field("", max_length=64)
    flow: Text = Field("", max_length=63)
    folder: Text = Field("", max_length=200, description="With all below it.")
    q: Text = Field("", max_length=100, description="In the run's id, its flow, its error.")
    since: Moment | None = None
    until: Moment | None = None
    ids: list[RunId] = Field(default_factory=list, max_length=letters.MAX_IDS)

    def asked(self) -> Filter:
        """As the actions take it. Raises BadInput for a time that is none."""
        return Filter(
            self.error_class, self.flow, self.folder, self.q, since=moment_of(self.since, "since"),
            until=moment_of(self.until, "until"), ids=tuple(self.ids),
        )  # fmt: skip


class DeadReplayIn(Input):
    filter: FilterIn
    mode: Literal["retry", "replay"] = Field(
        description="`retry`: in place, at the failed steps; `replay`: a new run of the live release each."
    )
    reason: Reason
    rate: int = Field(replays.DEFAULT_RATE, ge=0, le=replays.MAX_RATE, description="Runs a minute; 0: at once.")


class AbortIn(Input):
    reason: Text = Field("", max_length=dismissing.MAX_REASON)


class DismissIn(Input):
    ids: list[RunId] = Field(min_length=1, max_length=letters.MAX_IDS)
    reason: Reason


class DeadReasonIn(Input):
    reason: Reason


class QuarantineIn(DeadReasonIn):
    run: RunId = Field(description="A run that has the input.")
    this_release_only: bool = Field(False, description="Until another release than the run's goes live.")


class FailureOut(Schema):
    error_class: str
    message: str
    step: str | None


class LetterOut(Schema):
    run: str
    flow: str
    folder: str
    release: str
    status: Literal["failed", "timed_out"]
    error: FailureOut
    attempts: int | None = Field(description="Of the step that failed; null where no step is named.")
    undone: list[str] = Field(description="Steps whose effects were undone.")
    not_undone: list[str] = Field(description="Steps whose effects should have been undone and were not.")
    in_flight: list[str] = Field(description="Steps that were cut off and may have acted.")
    created_at: str
    dead_at: str


class DeadGroupOut(Schema):
    name: str
    count: int
    latest: str


class LettersOut(Schema):
    items: list[LetterOut]
    next_cursor: str | None
    total: int
    classes: list[DeadGroupOut] = Field(description="By error class, for this filter without its class.")
    flows: list[DeadGroupOut] = Field(description="By flow, the 50 with most.")


class DeadCountOut(Schema):
    count: int = Field(description="Runs that a replay would take: those you operate.")
    classes: list[DeadGroupOut]
    flows: list[DeadGroupOut]


class ReplayOut(Schema):
    id: int
    mode: Literal["retry", "replay"]
    filter: dict[str, Any]
    reason: str
    rate: int
    status: Literal["running", "done", "aborted"]
    total: int
    done: int
    failed: int
    actor: str
    ended_by: str
    created_at: str
    ended_at: str | None


class ReplaysOut(Schema):
    items: list[ReplayOut]
    next_cursor: None = None


class ReplayItemOut(Schema):
    run: str
    status: Literal["pending", "done", "failed"]
    new_run: str | None
    run_status: str | None = Field(description="Of the run it led to, now: itself in place, or `new_run`.")
    code: str
    message: str
    at: str | None


class ReplayItemsOut(Schema):
    items: list[ReplayItemOut]
    next_cursor: str | None


class QuarantineOut(Schema):
    id: int
    flow: str
    input_sha256: str
    reason: str
    actor: str
    run: str
    release: str | None = Field(description="It is let go when another release goes live; null: only people do that.")
    at: str
    released_at: str | None
    released_by: str
    release_reason: str


class QuarantinesOut(Schema):
    items: list[QuarantineOut]
    next_cursor: str | None
