"""http: one request, exactly as it was resolved; only credentials and the idempotency key are added."""

from __future__ import annotations

import json
from typing import ClassVar, cast
from urllib.parse import urlencode

import httpx2
from django.db import OperationalError
from pydantic import BaseModel

from flows.steps.base import Action, Fail, Family, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed
from flows.steps.http import address, answer, clients
from flows.steps.http.config import HttpConfig
from resources.connection_settings import HttpSettings
from resources.errors import OrchestraError
from resources.http_client import Fetched, ResponseTooLarge, fetch

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KEY_HEADER = "Idempotency-Key"
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
        return {
            "method": config.method,
            "url": _url(config, connection),
            "headers": _plain(config.headers),
            **_content(config),
            "ok": list(config.ok),
            "response": config.response,
            "max_bytes": config.max_bytes,
        }

    def repeatable(self, action: Action, connection: BaseModel | None) -> bool:
        if action.config["method"] in SAFE_METHODS:
            return True
        return isinstance(connection, HttpSettings) and connection.honours_idempotency_key

    def describe(self, action: Action) -> str:
        config = action.config
        kind = next((k for k in ("json", "form", "body") if k in config), None)
        sent = f" with {_excerpt(config[kind])}" if kind else ""
        through = f" through the connection {action.connection['name']}" if action.connection else ""
        return f"{config['method']} {config['url']}{sent}{through}"

    def execute(self, ctx: StepContext) -> Outcome:
        try:
            client, request = clients.prepare(ctx.action, _request(ctx), ctx.mask)
        except Refused as e:
            return Fail(StepError("refused", str(e)))
        except Changed as e:
            return Fail(StepError("conflict", str(e)))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database did not answer: {e}"), acted=False)
        try:
            fetched = fetch(
                client, request, timeout=ctx.timeout, max_bytes=ctx.action.config["max_bytes"], stop=ctx.cancelled,
                heard=lambda so_far, whole: _tell(ctx, so_far, whole),
            )  # fmt: skip
        except (httpx2.HTTPError, httpx2.InvalidURL, OrchestraError) as e:
            return _broken(e, request.url.host, ctx.timeout)
        ctx.log(f"{request.method} {request.url} answered {fetched.status} in {fetched.seconds:.3f} s")
        return _outcome(fetched, ctx)


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


def _content(config: HttpConfig) -> dict[str, Json]:
    kind, value = config.content
    if kind == "form":
        value = {name: address.text(v) for name, v in value.items() if v is not None}
    return {} if kind == "none" else {kind: value}


def _request(ctx: StepContext) -> httpx2.Request:
    config = ctx.action.config
    headers, content = {}, None
    if "json" in config:
        headers["content-type"] = "application/json"
        content = json.dumps(config["json"], ensure_ascii=False, separators=(",", ":")).encode()
    elif "form" in config:
        headers["content-type"] = "application/x-www-form-urlencoded"
        content = urlencode(config["form"]).encode()
    elif "body" in config:
        headers["content-type"] = "text/plain; charset=utf-8"
        content = config["body"].encode()
    headers |= {name.lower(): value for name, value in config["headers"].items()}
    return httpx2.Request(
        config["method"], config["url"], headers={**headers, KEY_HEADER.lower(): ctx.key}, content=content
    )


def _tell(ctx: StepContext, so_far: int, whole: int | None) -> None:
    percent = min(100.0, so_far / whole * 100) if whole else None
    ctx.progress(f"{so_far} bytes received", percent)


def _outcome(fetched: Fetched, ctx: StepContext) -> Outcome:
    headers = {name.lower(): value for name, value in reversed(fetched.headers)}
    return answer.outcome(fetched.status, headers, fetched.body, url=fetched.url, config=ctx.action.config, now=ctx.now)


def _broken(error: Exception, host: str, timeout: float) -> Outcome:
    """What an exchange without a whole answer means. `acted` is False only where nothing can have been sent."""
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Retry(StepError("connect", f"{host} could not be reached: {error}"), acted=False)
        case httpx2.TimeoutException():
            return Retry(StepError("timeout", f"{host} did not answer within {timeout:g} s."))
        case httpx2.TooManyRedirects() | httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
            return Fail(StepError("refused", f"{host} redirects where no request may go: {error}"))
        case httpx2.HTTPError():
            return Retry(StepError("network", f"The exchange with {host} broke: {str(error) or type(error).__name__}"))
        case ResponseTooLarge():
            return Fail(StepError("limit", f"{host} answered too much. {error.message}"))
        case OrchestraError():
            return Fail(StepError("refused", error.message, error.details))
    raise error


def _excerpt(value: Json) -> str:
    """What is sent, in words where it is a flat object: the exact bytes are shown beside the sentence anyway."""
    if isinstance(value, dict) and value and not any(isinstance(v, dict | list) for v in value.values()):
        text = ", ".join(f"{name} {v if isinstance(v, str) else json.dumps(v)}" for name, v in value.items())
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
