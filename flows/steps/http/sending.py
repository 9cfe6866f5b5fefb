"""One exchange of a step, and what it means. All exchanges of an attempt share its time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from email.message import Message
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx2
from django.db import OperationalError

from flows.steps.base import Done, Fail, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed
from flows.steps.http import answer, bodies, clients
from resources.backends.errors import Unreachable
from resources.errors import OrchestraError
from resources.http_auth import refused
from resources.http_client import Fetched, ResponseTooLarge, fetch
from resources.oauth import TokenFailed

KEY_HEADER: Final = "Idempotency-Key"


class Sender:
    """Sends the action's request, or the same to another address of the same server."""

    def __init__(self, ctx: StepContext) -> None:
        self.ctx = ctx
        self.until = time.monotonic() + ctx.timeout
        self.last: Fetched | None = None

    def left(self) -> float:
        """Seconds left for this attempt."""
        return max(0.0, self.until - time.monotonic())

    def outcome(self, url: str, *, method: str = "", bare: bool = False) -> Outcome:
        """What the answer means. `bare`: without the body, to look again. Leaves the exchange in `last`."""
        ctx = self.ctx
        try:
            self.last = self._exchange(url, method, bare)
        except Refused as e:
            return Fail(StepError("refused", str(e)))
        except Changed as e:
            return Fail(StepError("conflict", str(e)))
        except OperationalError as e:
            return Retry(StepError("internal", f"The database did not answer: {e}"), acted=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, OrchestraError) as e:
            return broken(e, urlsplit(url).hostname or "", ctx.timeout)
        except OSError as e:
            return Retry(StepError("internal", f"What was sent or received could not be kept: {e}"))
        return self._judged(self.last)

    def _exchange(self, url: str, method: str, bare: bool) -> Fetched:
        """The answer; after a 401 for a token of ours that of a second request, with a new one: nothing was done."""
        ctx = self.ctx
        for again in (False, True):
            with ExitStack() as files:
                request = self._request(url, method, bare, files)
                client, request, ref = clients.prepare(ctx.action, request, ctx.mask, self.left(), ctx.cancelled)
                fetched = self._fetch(client, request)
            if again or ref is None or fetched.status != 401 or not refused(ref, request):
                break
        return fetched

    def _request(self, url: str, method: str, bare: bool, files: ExitStack) -> httpx2.Request:
        config = self.ctx.action.config
        headers, content = ({}, {}) if bare else bodies.content(self.ctx, files)
        headers |= {name.lower(): value for name, value in config["headers"].items()}
        if "files" in content:  # its boundary is in the one that the library sets
            headers.pop("content-type", None)
        return httpx2.Request(
            method or config["method"], url, headers={**headers, KEY_HEADER.lower(): self.ctx.key}, **content
        )

    def _fetch(self, client: httpx2.Client, request: httpx2.Request) -> Fetched:
        ctx = self.ctx
        config = ctx.action.config
        fetched = fetch(
            client, request, timeout=self.left(), max_bytes=config["max_bytes"], stop=ctx.cancelled,
            heard=self._tell, keep=self._keep if config["response"] == "resource" else None,
        )  # fmt: skip
        ctx.log(f"{request.method} {request.url} answered {fetched.status} in {fetched.seconds:.3f} s")
        return fetched

    def _tell(self, so_far: int, whole: int | None) -> None:
        percent = min(100.0, so_far / whole * 100) if whole else None
        self.ctx.progress(f"{so_far} bytes received", percent)

    def _keep(self, status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Json:
        """The body as a resource, where the status is one that counts as success."""
        config = self.ctx.action.config
        waits = "poll" in config and answer.is_ok(status, config["poll"]["statuses"])
        if waits or not answer.is_ok(status, config["ok"]):
            return None
        kind = headers.get("content-type", "application/octet-stream")
        return self.ctx.store(chunks, name=_filename(headers, config["url"]), content_type=kind)

    def _judged(self, fetched: Fetched) -> Outcome:
        headers = {name.lower(): value for name, value in reversed(fetched.headers)}
        return answer.outcome(
            fetched.status, headers, fetched.body,
            url=fetched.url, config=self.ctx.action.config, now=self.ctx.now, resource=fetched.kept,
            masked=self.ctx.masked,
        )  # fmt: skip


def _filename(headers: Mapping[str, str], url: str) -> str:
    """What the other side calls the file, without any folder."""
    said = Message()
    said["content-disposition"] = headers.get("content-disposition", "")
    name = said.get_filename() or unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^\w.() -]", "_", name.replace("\\", "/").rpartition("/")[2])[:100].strip(" .") or "body"


def output_of(outcome: Outcome) -> Any:
    """The output of a success; None else."""
    return outcome.output if isinstance(outcome, Done) else None


def broken(error: Exception, host: str, timeout: float) -> Outcome:
    """What an exchange without a whole answer means. `acted` is False only where nothing can have been sent."""
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Retry(StepError("connect", f"{host} could not be reached: {_sentence(error)}"), acted=False)
        case httpx2.TimeoutException():
            return Retry(StepError("timeout", f"{host} did not answer within {timeout:g} s."))
        case httpx2.TooManyRedirects() | httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
            return Fail(StepError("refused", f"{host} redirects where no request may go: {_sentence(error)}"))
        case httpx2.HTTPError():
            return Retry(StepError("network", f"The exchange with {host} broke: {_sentence(error)}"))
        case ResponseTooLarge():
            return Fail(StepError("limit", f"{host} answered too much. {error.message}"))
        case TokenFailed(again=True) | Unreachable():
            return Retry(StepError("connect", f"{error.message} {error.hint}".strip()), acted=False)
        case TokenFailed():
            return Fail(StepError("refused", f"{error.message} {error.hint}".strip()))
        case OrchestraError():
            return Fail(StepError("refused", error.message, error.details))
    raise error


def _sentence(error: Exception) -> str:
    return f"{(str(error) or type(error).__name__).rstrip('.')}."
