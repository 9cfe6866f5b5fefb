"""http: one request to a connection or an address. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from flows.steps.fields import OPEN, Config, Json, Name, Size, TDuration, Templated, TJson, TText

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Scalar = str | int | float | bool | None
MAX_BYTES = 10 * 1024 * 1024
MAX_RESOURCE = 4 * 1024**3
DEFAULT_BYTES = 1024 * 1024
_POINTER = re.compile(r"(/([^~/]|~[01])*)*\Z")
_RANGE = re.compile(r"[1-5]xx\Z")
_MEDIA = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(; ?[a-z]+=[A-Za-z0-9._-]+)?\Z")
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


def _pointer(text: str) -> str:
    if len(text) > 500 or not _POINTER.match(text):
        raise ValueError("expected a JSON pointer (RFC 6901) such as /data/items, or an empty text for all of it")
    return text


def _media_type(text: str) -> str:
    if OPEN not in text and not _MEDIA.match(text):
        raise ValueError("expected a media type such as text/csv")
    return text


Pointer = Annotated[str, AfterValidator(_pointer)]


class Part(Config):
    """A file of a multipart body: from a resource, or a text."""

    resource: TJson = Field(default=None, description="a resource: an output that names one, or `res://…`")
    text: TText | None = Field(default=None, description="the content, where it is no resource")
    filename: TText | None = Field(default=None, description="else the resource's own name")
    content_type: Annotated[TText, AfterValidator(_media_type)] | None = Field(
        default=None, description="else the resource's own, or text/plain"
    )

    @model_validator(mode="after")
    def _one(self) -> Part:
        if (self.resource is None) == (self.text is None):
            raise ValueError("give exactly one of resource and text")
        return self


def _kind_of_field(value: object) -> str:
    return "file" if isinstance(value, dict | Part) else "field"


Field_ = Annotated[Annotated[Scalar, Tag("field")] | Annotated[Part, Tag("file")], Discriminator(_kind_of_field)]


class Paginate(Config):
    """Asks for page after page and gives all items as one list. Give at most one of next, cursor, page and offset;
    without any, the answer's Link header with rel="next" leads on."""

    items: Pointer = Field(description="where a page's list is: a JSON pointer such as /data; empty: the page is it")
    next: Pointer | None = Field(default=None, description="where a page has the address of the next one")
    cursor: Pointer | None = Field(default=None, description="where a page has the cursor, sent as the query `param`")
    page: bool = Field(default=False, description="count pages in the query `param`, until one is empty")
    offset: bool = Field(default=False, description="count items in the query `param`, until a page is empty")
    param: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="", description="name of the query parameter; else cursor, page or offset"
    )
    start: Annotated[int, Field(ge=0)] = Field(default=1, description="number of the first page")
    max_pages: Annotated[int, Field(ge=1, le=1000)] = Field(default=20, description="stop after this many pages")
    max_items: Annotated[int, Field(ge=1, le=100_000)] = Field(default=10_000, description="stop at this many items")

    @model_validator(mode="after")
    def _one_way(self) -> Paginate:
        if sum((self.next is not None, self.cursor is not None, self.page, self.offset)) > 1:
            raise ValueError("give at most one of next, cursor, page and offset")
        return self


class Poll(Config):
    """Asks again while the other side is not ready. It holds a worker: for more than minutes use the step's `until`."""

    statuses: list[Annotated[int | str, AfterValidator(_status)]] = Field(
        default=[202], min_length=1, description="ask again while it answers one of these"
    )
    interval: Annotated[TDuration, Field(ge=0.1, le=3600)] = Field(
        default=2.0, description="time between two; a Retry-After goes before"
    )
    max_times: Annotated[int, Field(ge=1, le=1000)] = Field(default=60, description="give up after this many")


class HttpConfig(Config):
    """One HTTP request. Give `connection` (with `path`) or `url`, and at most one of json, form, multipart, body and
    body_from."""

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
    multipart: dict[str, Annotated[Field_, Templated()]] | None = Field(
        default=None, description="the body, sent as multipart/form-data: fields, and files as {resource} or {text}"
    )
    body: TText | None = Field(default=None, description="the body, sent as text")
    body_from: TJson = Field(default=None, description="the body, streamed from a resource")
    ok: list[Annotated[int | str, AfterValidator(_status)]] = Field(
        default=["2xx"], min_length=1, description="statuses that count as success: 200, 2xx"
    )
    response: Literal["auto", "json", "text", "resource"] = Field(
        default="auto", description="how to read the answer; resource: streamed into one, whatever its size"
    )
    max_bytes: Annotated[Size, Field(ge=1, le=MAX_RESOURCE)] = Field(
        default=DEFAULT_BYTES, description="a longer answer fails the step; 10MiB at most, 4GiB as a resource"
    )
    paginate: Paginate | None = Field(default=None, description="ask for all pages; the output's body is their items")
    poll: Poll | None = Field(default=None, description="ask again while it is not ready")

    @model_validator(mode="after")
    def _one_target(self) -> HttpConfig:
        if (self.connection is None) == (self.url is None):
            raise ValueError("give exactly one of connection and url")
        if self.url is not None and self.path:
            raise ValueError("path goes with a connection; put it into the url")
        if self.path and "://" in self.path.split("${{", 1)[0]:
            raise ValueError("path is only the part after the connection's address")
        if sum(name in self.model_fields_set for name in ("json_body", "form", "multipart", "body", "body_from")) > 1:
            raise ValueError("give at most one of json, form, multipart, body and body_from")
        return self

    @model_validator(mode="after")
    def _answer_fits(self) -> HttpConfig:
        if self.max_bytes > MAX_BYTES and self.response != "resource":
            raise ValueError("more than 10MiB only with `response: resource`")
        if self.paginate is not None and (self.method != "GET" or self.response in ("text", "resource")):
            raise ValueError("only a GET with JSON answers has pages")
        if self.paginate is not None and self.poll is not None:
            raise ValueError("give at most one of paginate and poll")
        return self

    @property
    def bound(self) -> int:
        """Bytes of the answer, of each page where there are several."""
        given = "max_bytes" in self.model_fields_set
        return self.max_bytes if given or self.response != "resource" else MAX_RESOURCE

    def is_ok(self, status: int) -> bool:
        """Does this status count as success?"""
        return any(s == status if isinstance(s, int) else s[0] == str(status)[0] for s in self.ok)

    @property
    def content(self) -> tuple[Literal["json", "form", "multipart", "body", "body_from", "none"], Json]:
        """What to send: the kind and the value. An explicit `json: null` is a body too."""
        if "json_body" in self.model_fields_set:
            return "json", self.json_body
        if self.form is not None:
            return "form", self.form
        if self.multipart is not None:
            return "multipart", self.multipart
        if self.body_from is not None:
            return "body_from", self.body_from
        return ("body", self.body) if self.body is not None else ("none", None)
