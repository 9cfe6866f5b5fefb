"""http: one request, exactly as it was resolved; only credentials and the idempotency key are added."""

from __future__ import annotations

import json
from typing import ClassVar, cast

from pydantic import BaseModel

from flows.steps.base import Action, Family, Json, Outcome, Refused, StepContext
from flows.steps.http import address, bodies, pages
from flows.steps.http.config import HttpConfig
from flows.steps.http.sending import Sender
from flows.steps.pinning import pinned
from resources.connection_settings import HttpSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_SHOWN = 200  # characters of a body in a sentence


class HttpFamily(Family):
    name: ClassVar[str] = "http"
    Config: ClassVar[type[BaseModel]] = HttpConfig
    title: ClassVar[str] = "HTTP request"
    summary: ClassVar[str] = "Sends one HTTP request, through a connection or to a public address."
    icon: ClassVar[str] = "http"
    connection_kinds: ClassVar[tuple[str, ...]] = ("http",)

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(HttpConfig, config)
        more = {name: getattr(config, name) for name in ("paginate", "poll")}
        return {
            "method": config.method,
            "url": _url(config, connection),
            "headers": _plain(config.headers),
            **bodies.prepared(config),
            "ok": list(config.ok),
            "response": config.response,
            "max_bytes": config.bound,
            **{name: how.model_dump(mode="json") for name, how in more.items() if how is not None},
        }

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """Resources by what they are, not only by their name: people approve these very bytes."""
        if "body_from" in config:
            config["body_from"] = pinned(config["body_from"])
        for part in config.get("multipart", {}).values():
            if isinstance(part, dict) and "resource" in part:
                part["resource"] = pinned(part["resource"])
        return config

    def changes(self, action: Action) -> bool:
        return action.config["method"] not in SAFE_METHODS

    def repeatable(self, action: Action, connection: BaseModel | None) -> bool:
        if action.config["method"] in SAFE_METHODS:
            return True
        return isinstance(connection, HttpSettings) and connection.honours_idempotency_key

    def describe(self, action: Action) -> str:
        config = action.config
        kind = next((k for k in ("json", "form", "multipart", "body", "body_from") if k in config), None)
        sent = f" with {_excerpt(config[kind])}" if kind else ""
        through = f" through the connection {action.connection['name']}" if action.connection else ""
        return f"{config['method']} {config['url']}{sent}{through}"

    def execute(self, ctx: StepContext) -> Outcome:
        sender = Sender(ctx)
        if "paginate" in ctx.action.config:
            return pages.collect(sender)
        if "poll" in ctx.action.config:
            return pages.until_ready(sender)
        return sender.outcome(ctx.action.config["url"])


def _url(config: HttpConfig, connection: BaseModel | None) -> str:
    if config.url is not None:
        return address.complete(config.url, config.query)
    if not isinstance(connection, HttpSettings):
        raise Refused(f"The connection {config.connection!r} is not an http connection")
    return address.compose(connection.base_url, config.path, config.query)


def _plain(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise Refused(f"The header {name} has characters that no header may have; use printable ASCII")
    return dict(headers)


def _excerpt(value: Json) -> str:
    """What is sent, in words where it is a flat object: the exact bytes are shown beside the sentence anyway."""
    if isinstance(value, dict) and "$res" in value:
        text = f"the resource {value['$res']} of {value['size']} bytes"
    elif isinstance(value, dict) and value and not any(isinstance(v, dict | list) for v in value.values()):
        text = ", ".join(f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in value.items())
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
