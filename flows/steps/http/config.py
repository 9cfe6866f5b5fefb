"""http: one request to a connection or an address. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from flows.steps.fields import Config, Json, Name, Size, Templated, TJson, TText

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Scalar = str | int | float | bool | None
MAX_BYTES = 10 * 1024 * 1024
_RANGE = re.compile(r"[1-5]xx\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
#: Set by the engine or the connection; a flow that sets them would break the guarantees.
RESERVED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key"})


def _status(value: int | str) -> int | str:
    if isinstance(value, int) and 100 <= value <= 599:
        return value
    if isinstance(value, str) and _RANGE.match(value):
        return value
    raise ValueError("expected a status such as 200, or a range such as 2xx")


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER.match(name):
            raise ValueError(f"{name[:40]!r} is not a header name")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"the header {name} is set by Orchestra")
        if any(c in value for c in "\r\n\0"):
            raise ValueError(f"the header {name} has a line break")
    return headers


class HttpConfig(Config):
    """One HTTP request. Give `connection` (with `path`) or `url`, and at most one of json, form, body."""

    connection: Name | None = Field(
        default=None, description="name of an http connection: base address and credentials"
    )
    url: TText | None = Field(default=None, description="the whole address, when there is no connection")
    method: Annotated[Method, Templated()] = Field(default="GET", description="the HTTP method")
    path: TText = Field(default="", description="added to the connection's base address")
    query: dict[str, Annotated[Scalar | list[Scalar], Templated()]] = Field(
        default_factory=dict, description="query parameters; null leaves one out"
    )
    headers: Annotated[dict[str, TText], AfterValidator(_headers)] = Field(
        default_factory=dict, description="request headers"
    )
    json_body: TJson = Field(default=None, alias="json", description="the body, sent as JSON")
    form: dict[str, Annotated[Scalar, Templated()]] | None = Field(default=None, description="the body, sent as a form")
    body: TText | None = Field(default=None, description="the body, sent as text")
    ok: list[Annotated[int | str, AfterValidator(_status)]] = Field(
        default=["2xx"], min_length=1, description="statuses that count as success: 200, 2xx"
    )
    response: Literal["auto", "json", "text"] = Field(default="auto", description="how to read the answer")
    max_bytes: Annotated[Size, Field(ge=1, le=MAX_BYTES)] = Field(
        default=1024 * 1024, description="a longer answer fails the step"
    )

    @model_validator(mode="after")
    def _one_target(self) -> HttpConfig:
        if (self.connection is None) == (self.url is None):
            raise ValueError("give exactly one of connection and url")
        if self.url is not None and self.path:
            raise ValueError("path goes with a connection; put it into the url")
        if self.path and "://" in self.path.split("${{", 1)[0]:
            raise ValueError("path is only the part after the connection's address")
        if sum(name in self.model_fields_set for name in ("json_body", "form", "body")) > 1:
            raise ValueError("give at most one of json, form and body")
        return self

    def is_ok(self, status: int) -> bool:
        """Does this status count as success?"""
        return any(s == status if isinstance(s, int) else s[0] == str(status)[0] for s in self.ok)

    @property
    def content(self) -> tuple[Literal["json", "form", "body", "none"], Json]:
        """What to send: the kind and the value. An explicit `json: null` is a body too."""
        if "json_body" in self.model_fields_set:
            return "json", self.json_body
        if self.form is not None:
            return "form", self.form
        return ("body", self.body) if self.body is not None else ("none", None)
