"""What a request carries: its bytes, or where they come from while it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlencode

from flows.steps.base import Json, StepContext
from flows.steps.http import address
from flows.steps.http.config import HttpConfig, Part

CHUNK: Final = 64 * 1024


def prepared(config: HttpConfig) -> dict[str, Json]:
    """The body as it is shown, digested and sent: {kind: value}, {} where there is none."""
    kind, value = config.content
    if kind == "form":
        value = {name: address.text(v) for name, v in value.items() if v is not None}
    elif kind == "multipart":
        parts = {name: _part(v) for name, v in value.items()}
        value = {name: part for name, part in parts.items() if part is not None}
    return {} if kind == "none" else {kind: value}


def _part(value: Json | Part) -> Json:
    if isinstance(value, Part):
        return value.model_dump(mode="json", exclude_none=True)
    return None if value is None else address.text(value)


def content(ctx: StepContext, files: ExitStack) -> tuple[dict[str, str], dict[str, Any]]:
    """(headers, arguments of httpx2.Request) of the action's body; what is opened is closed by `files`.

    Raises Refused for a resource that this run may not read.
    """
    config = ctx.action.config
    if "json" in config:
        data = json.dumps(config["json"], ensure_ascii=False, separators=(",", ":")).encode()
        return {"content-type": "application/json"}, {"content": data}
    if "form" in config:
        return {"content-type": "application/x-www-form-urlencoded"}, {"content": urlencode(config["form"]).encode()}
    if "body" in config:
        return {"content-type": "text/plain; charset=utf-8"}, {"content": config["body"].encode()}
    if "body_from" in config:
        return _streamed(ctx, files)
    if "multipart" in config:
        return {}, _multipart(ctx, config["multipart"], files)
    return {}, {}


def _streamed(ctx: StepContext, files: ExitStack) -> tuple[dict[str, str], dict[str, Any]]:
    found = ctx.fetch(ctx.action.config["body_from"])
    files.callback(found.file.close)

    def chunks() -> Iterator[bytes]:
        while chunk := found.file.read(CHUNK):
            yield chunk

    return {"content-type": found.content_type, "content-length": str(found.size)}, {"content": chunks()}


def _multipart(ctx: StepContext, parts: Mapping[str, Json], files: ExitStack) -> dict[str, Any]:
    fields: dict[str, tuple[Any, ...]] = {}
    for name, part in parts.items():
        if isinstance(part, str):
            fields[name] = (None, part)
        elif "text" in part:
            kind = part.get("content_type", "text/plain; charset=utf-8")
            fields[name] = (part.get("filename", name), part["text"].encode(), kind)
        else:
            found = ctx.fetch(part["resource"])
            files.callback(found.file.close)
            filename = part.get("filename") or found.name or name
            fields[name] = (filename, found.file, part.get("content_type", found.content_type))
    return {"files": fields}
