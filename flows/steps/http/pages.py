"""Page after page of one list, and asking again while the other side is not ready."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from flows.steps.base import Done, Fail, Json, Outcome, Refused, Retry, StepError
from flows.steps.http import address, answer
from flows.steps.http.sending import Sender, output_of

_LINK = re.compile(r"<([^<>]*)>([^<]*)")


def collect(sender: Sender) -> Outcome:
    """All items as one list, or the first page that failed. The output is {status, headers, body: [items], url, pages,
    more}; `more`: there was another page, but enough were asked for."""
    config = sender.ctx.action.config
    how, url = config["paginate"], config["url"]
    items: list[Json] = []
    seen = {url}
    for number in range(1, how["max_pages"] + 1):
        outcome = sender.outcome(url)
        page = output_of(outcome)
        if page is None:
            return outcome
        found = pointed(page["body"], how["items"])
        if not isinstance(found, list):
            where = how["items"] or "the answer"
            return Fail(StepError("input", f"Page {number} has no list at {where}."))
        items += found
        sender.ctx.progress(f"page {number}, {len(items)} items", None)
        try:
            following = _next(how, page, url, len(found), len(items), number)
            if following is not None:
                within(following, config["url"])
        except Refused as e:
            return Fail(StepError("refused", f"Page {number} leads where no request may go: {e}."))
        whole = {**page, "body": items[: how["max_items"]], "pages": number, "more": following is not None}
        if following is None or len(items) >= how["max_items"] or number == how["max_pages"]:
            return Done({**whole, "more": following is not None or len(items) > how["max_items"]})
        if following in seen:
            return Fail(StepError("input", f"Page {number} names a page as its next that was there already."))
        seen.add(following)
        url = following
    raise AssertionError("the last page returns")


def _next(how: Mapping[str, Any], page: Json, url: str, found: int, so_far: int, number: int) -> str | None:
    """The address of the page after this one; None: this is the last. Raises Refused."""
    if how["cursor"] is not None:
        cursor = pointed(page["body"], how["cursor"])
        usable = isinstance(cursor, str | int) and not isinstance(cursor, bool) and cursor != ""
        return _with(url, how["param"] or "cursor", str(cursor)) if usable else None
    if how["page"]:
        return _with(url, how["param"] or "page", str(how["start"] + number)) if found else None
    if how["offset"]:
        return _with(url, how["param"] or "offset", str(so_far)) if found else None
    named = how["next"] is not None
    link = pointed(page["body"], how["next"]) if named else linked(page["headers"].get("link", ""))
    return urljoin(url, link) if isinstance(link, str) and link else None


def _with(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    query = [(n, v) for n, v in parse_qsl(parts.query, keep_blank_values=True) if n != name]
    return parts._replace(query=urlencode([*query, (name, value)])).geturl()


def linked(header: str) -> str | None:
    """The target of rel="next" in a Link header (RFC 8288)."""
    for target, params in _LINK.findall(header):
        for param in params.split(";"):
            name, _, value = param.strip(" ,").partition("=")
            if name.strip().lower() == "rel" and "next" in value.strip('" ').lower().split():
                return str(target)
    return None


def within(url: str, first: str) -> None:
    """The credentials go to the server they are for, and nowhere else. Raises Refused."""
    a, b = address.split(url), address.split(first)
    if (a.scheme, a.hostname, a.port) != (b.scheme, b.hostname, b.port):
        raise Refused(f"{a.scheme}://{a.netloc} is another server")


def pointed(value: Json, pointer: str) -> Json:
    """What a JSON pointer (RFC 6901) names; None where nothing is."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 9:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def until_ready(sender: Sender) -> Outcome:
    """Ask until it answers something else than "not yet": again the same address, or after a request that changes
    something, the one its Location names."""
    config = sender.ctx.action.config
    how, url = config["poll"], config["url"]
    outcome = sender.outcome(url)
    for asked in range(how["max_times"]):
        last = sender.last
        if last is None or not answer.is_ok(last.status, how["statuses"]) or isinstance(outcome, Retry):
            return outcome
        location = last.header("location")
        if location:
            url = urljoin(url, location)
        elif config["method"] not in ("GET", "HEAD") and asked == 0:
            return Fail(StepError("input", f"It answered {last.status}, but names no Location to ask again."))
        pause = answer.retry_after(last.header("retry-after"), sender.ctx.now)
        pause = how["interval"] if pause is None else max(pause, 0.1)
        if pause >= sender.left():
            return Retry(StepError("timeout", f"It was not ready after {asked + 1} answers, and the time is up."))
        sender.ctx.progress(f"not ready, asked {asked + 1} times", None)
        if sender.ctx.cancelled.wait(pause):
            return Retry(StepError("cancelled", "Asked to stop while it was not ready."))
        try:
            within(url, config["url"])
        except Refused as e:
            return Fail(StepError("refused", f"Its Location leads where no request may go: {e}."))
        sender.last = None
        outcome = sender.outcome(url, method="GET", bare=True)
    return Fail(StepError("expired", f"It was not ready after {how['max_times'] + 1} answers."))
