"""API v1: the filter of runs, the same for the list and for controls of many at once; the page of runs has it, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from resources.api import Input, Text
from runs.filters import CHIPS, RANGES, TRIGGERS, Asked
from runs.models import RunStatus

if TYPE_CHECKING:
    StatusName = str
    GroupName = str
    TriggerName = str
    RangeName = str
else:  # the published lists, for checking and for the description
    StatusName = Literal[tuple(RunStatus.values)]
    GroupName = Literal[tuple(CHIPS)]
    TriggerName = Literal[tuple(TRIGGERS)]
    RangeName = Literal[tuple(RANGES)]


class RunFilter(Schema):
    """What is not given narrows nothing."""

    model_config = ConfigDict(extra="ignore")

    flow: Text | None = Field(None, max_length=63)
    status: StatusName | None = Field(None, description="This status and no other.")
    group: GroupName | None = Field(
        None, description="As the page of runs groups them: `human` waits for a person, `failed` also ran out of time."
    )
    degraded: bool | None = None
    trigger: TriggerName | None = Field(None, description="What started it.")
    q: Text | None = Field(None, max_length=100, description="In the flow's slug or title, or how the run's id begins.")
    range: RangeName | None = Field(None, description="Started so long ago at most. What has not ended is always in.")
    parent: Text | None = Field(None, max_length=26, description="The run whose children are meant.")

    def asked(self, *, before: str = "", until: str = "") -> Asked:
        return Asked(
            status=self.group or "", flow=self.flow or "", trigger=self.trigger or "", q=(self.q or "").strip(),
            range=self.range or "", before=before, until=until, exact=self.status or "", degraded=self.degraded,
            parent=self.parent or "",
        )  # fmt: skip


class RunFilterIn(RunFilter, Input):
    until: Text | None = Field(None, max_length=26, description="Id of a run: nothing newer, such as what starts now.")
    before: Text | None = Field(None, max_length=26, description="Id of a run: only what is older, to go on there.")

    def all_asked(self) -> Asked:
        return self.asked(before=self.before or "", until=self.until or "")
