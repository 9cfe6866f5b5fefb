"""search: full text over what the folder's viewers see, or the web through a connection. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from flows.steps.fields import Config, Name, Templated, TText

MAX_QUERY: Final = 500
MAX_LIMIT: Final = 20
ENGINES: Final = ("searxng", "brave", "tavily")
Where = Literal["resources", "runs", "flows", "connections"]


class Filters(Config):
    """Each narrows what is found."""

    flow: TText = Field(default="", description="slug: runs of this flow, and itself")
    folder: TText = Field(default="", description="this folder and those below it")
    label: TText = Field(default="", description="`name=text`, of resources and flows")
    status: TText = Field(
        default="", description="`open`, `succeeded`, `failed`, `cancelled` or `timed_out`; of flows `live` or `draft`"
    )
    since: TText = Field(default="", description="made, or changed, at this time or later: RFC 3339")
    before: TText = Field(default="", description="before this time: RFC 3339")


class SearchConfig(Config):
    """Without a connection it searches Orchestra itself, with one the web."""

    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY), Templated()] = Field(
        description='what to look for: words, `"a phrase"`, `-without`, `or`'
    )
    in_: list[Where] = Field(default=[], alias="in", max_length=4, description="where to look; everywhere if empty")
    filters: Filters = Field(default=Filters(), description="what to leave out")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), Templated()] = Field(default=10, description="how many at most")
    hydrate: bool = Field(default=False, description="give the objects, too, their long texts cut")
    connection: Name | None = Field(
        default=None, description="name of an http connection to an engine: the web is searched"
    )
    engine: Literal["searxng", "brave", "tavily"] = Field(
        default="searxng", description="what the connection leads to: how it is asked and what it answers"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SearchConfig:
        given = self.model_fields_set
        if self.connection is None and "engine" in given:
            raise ValueError("engine goes with a connection, which leads to it")
        if self.connection is not None and (wrong := given & {"in_", "filters", "hydrate"}):
            raise ValueError(f"{min(wrong).rstrip('_')} goes without a connection: it narrows a search of Orchestra")
        return self
