"""db: a query or a write in one transaction, values only ever bound. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from flows.steps.db import sql
from flows.steps.fields import OPEN, Config, Name, Size, Templated, TJson

MAX_ROWS = 100_000
MAX_BYTES = 4 * 1024 * 1024
MAX_STATEMENTS = 50


def _sql(text: str) -> str:
    if OPEN in text:
        raise ValueError("no expression is put into SQL: write `:name` there and give the value under `params`")
    if not text.strip():
        raise ValueError("there is no statement in it")
    return text


Sql = Annotated[str, Field(max_length=100_000), AfterValidator(_sql)]
Table = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$")]
Count = Annotated[int, Field(ge=0), Templated()]


class Expect(Config):
    """What must hold before the write is committed."""

    rows: Count = Field(description="as many rows must be changed, no more and no fewer")


class DbConfig(Config):
    """Exactly one of query, execute and statements; what changes data says `write: true`."""

    connection: Name = Field(description="name of a postgres, mysql or sqlite connection")
    query: Sql | None = Field(default=None, description="one statement that gives rows; `:name` stands for a value")
    execute: Sql | None = Field(default=None, description="one statement that changes data")
    statements: Annotated[list[Sql], Field(min_length=1, max_length=MAX_STATEMENTS)] | None = Field(
        default=None, description="several statements in one transaction"
    )
    params: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")], TJson] = Field(
        default_factory=dict, description="the values by name; only ever bound, never put into the text"
    )
    write: bool = Field(default=False, description="it may change data; without it the server refuses changes")
    idempotent: bool = Field(
        default=False, description="note the key in the same transaction, so that a repeat does nothing"
    )
    key_table: Table = Field(default="orchestra_writes", description="where keys are noted")
    expect: Expect | None = Field(default=None, description="else nothing is changed, and the step fails")
    max_changed: Count | None = Field(default=None, description="more changed rows than this: nothing is changed")
    max_rows: Annotated[int, Field(ge=0, le=MAX_ROWS)] = Field(
        default=1000, description="rows in the output; `truncated` says that there are more"
    )
    max_cell_bytes: Annotated[Size, Field(ge=1, le=16 * 1024 * 1024)] = Field(
        default=64 * 1024, description="a longer value fails the step"
    )
    max_bytes: Annotated[Size, Field(ge=1, le=MAX_BYTES)] = Field(
        default=1024 * 1024, description="of the rows in the output; what is over is left out as by `max_rows`"
    )
    rest: Literal["resource"] | None = Field(default=None, description="write all rows to a resource")
    format: Literal["csv", "jsonl"] = Field(default="csv", description="of the resource")

    @model_validator(mode="after")
    def _fits_together(self) -> DbConfig:
        if sum(given is not None for given in (self.query, self.execute, self.statements)) != 1:
            raise ValueError("give exactly one of query, execute and statements")
        if self.query is None and not self.write:
            raise ValueError("execute and statements change data: add `write: true`, or use query")
        self._only_where_used()
        self._values_fit()
        return self

    def _only_where_used(self) -> None:
        given = self.model_fields_set
        if not self.write and (wrong := given & {"idempotent", "key_table", "expect", "max_changed"}):
            raise ValueError(f"{min(wrong)} goes with `write: true`")
        if "key_table" in given and not self.idempotent:
            raise ValueError("key_table goes with `idempotent: true`")
        if self.write and self.rest is not None:
            raise ValueError("rest goes with a query that only reads")
        if "format" in given and self.rest is None:
            raise ValueError("format goes with `rest: resource`")

    def _values_fit(self) -> None:
        read = [sql.read(text) for text in self.texts]
        for statement in read:
            if why := sql.refusal(statement):
                raise ValueError(why)
        named = frozenset[str]().union(*(statement.names for statement in read))
        if missing := named - set(self.params):
            raise ValueError(f"there is no value for :{min(missing)}; add it under params (a plain colon is `\\:`)")
        if unused := set(self.params) - named:
            raise ValueError(f"no statement has :{min(unused)}, which params gives")

    @property
    def texts(self) -> list[str]:
        """The statements in order."""
        return self.statements or [text for text in (self.query, self.execute) if text is not None]
