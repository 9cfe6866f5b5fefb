"""What an answer means for the step: done, try again, or failed. Pure."""

from __future__ import annotations

import codecs
import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from flows.definition.jsonguard import JsonError, check_json
from flows.steps.base import Done, Fail, Json, Outcome, Retry, StepError

KEPT_HEADERS = (
    "content-type",
    "content-language",
    "date",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "x-request-id",
    "x-ratelimit-remaining",
    "x-total-count",
)
MAX_HEADER = 1000  # characters of one kept header
MAX_EXCERPT = 2000  # characters of a body shown with an error
MAX_RETRY_AFTER = 24 * 3600.0
#: refused by the other side before it acted; a retry of the same request is what they ask for
_ASKS_AGAIN = frozenset({408, 425})

#: Python's own codecs, which no page is written in; punycode takes minutes for a megabyte
_NOT_TEXT = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape"})


class NotJson(Exception):
    """The body is not the JSON the step asked for."""


def outcome(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    url: str,
    config: Mapping[str, Json],
    now: float,
    resource: Json = None,
    masked: Callable[[Json], Json] = lambda value: value,
) -> Outcome:
    """`headers` by lower-case name; `now` epoch seconds, for a Retry-After that is a date. `resource`: what the body
    was kept as. `masked`: hides secrets in what is cut."""
    headers = masked(dict(headers))
    if resource is not None:
        return Done({"status": status, "headers": kept(headers), "body": resource, "url": url})
    try:
        content = read(body, headers.get("content-type", ""), config["response"])
    except JsonError as e:
        return Fail(StepError("limit", f"The answer cannot be kept: {e}"))
    except NotJson as e:
        content, problem = _text(body, headers.get("content-type", "")), str(e)
    else:
        problem = ""
    if not is_ok(status, config["ok"]):
        return _refusal(status, headers, masked(content), url, now)
    if problem:
        return Fail(StepError("input", f"{_host(url)} answered {status}, but not with JSON: {problem}."))
    return Done({"status": status, "headers": kept(headers), "body": content, "url": url})


def is_ok(status: int, ok: Iterable[int | str]) -> bool:
    return any(s == status if isinstance(s, int) else s[0] == str(status)[0] for s in ok)


def read(body: bytes, content_type: str, how: str) -> Json:
    """The body as JSON or text. `how`: json, text, or auto and resource (JSON where it says so and is so).

    Raises NotJson, only for "json"; JsonError for JSON that is too deep.
    """
    media = content_type.partition(";")[0].strip().lower()
    if how == "text" or (how in ("auto", "resource") and not (media == "application/json" or media.endswith("+json"))):
        return _text(body, content_type)
    if not body.strip():
        return None
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except RecursionError as e:
        raise JsonError("The value is nested too deep.") from e
    except ValueError as e:
        if how == "json":
            raise NotJson(str(e)) from e
        return _text(body, content_type)
    check_json(value, max_bytes=4 * len(body) + 1000)
    return value


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, of both forms of the header: a number of seconds, or a date. Capped at a day."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return min(max(moment.timestamp() - now, 0.0), MAX_RETRY_AFTER)


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name][:MAX_HEADER] for name in KEPT_HEADERS if name in headers}


def _refusal(status: int, headers: Mapping[str, str], content: Json, url: str, now: float) -> Outcome:
    excerpt = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    details = {"status": status, "headers": kept(headers), "body": excerpt[:MAX_EXCERPT], "url": url}
    after = retry_after(headers.get("retry-after"), now)
    if status == 429:
        message = f"{_host(url)} answered 429: too many requests."
        return Retry(StepError("http_429", message, details), after=after, acted=False)
    if status >= 500:
        return Retry(StepError("http_5xx", f"{_host(url)} answered {status}.", details), after=after)
    if status in _ASKS_AGAIN:
        return Retry(StepError("http_4xx", f"{_host(url)} answered {status}.", details), after=after, acted=False)
    hint = "" if status >= 400 else ", which `ok` does not list"
    return Fail(StepError("http_4xx", f"{_host(url)} answered {status}{hint}.", details))


def _host(url: str) -> str:
    return url.split("/", 3)[2]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _text(body: bytes, content_type: str) -> str:
    charset = content_type.lower().partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    try:
        return body.decode("utf-8" if codecs.lookup(charset).name in _NOT_TEXT else charset, errors="replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", errors="replace")
