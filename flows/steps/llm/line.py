"""The line to a provider: one exchange at a time, bounded in time, bytes, tokens and cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import httpx2
from django.db import DatabaseError

from flows.steps.base import Fail, Json, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed, connection_of
from flows.steps.http.answer import retry_after
from flows.steps.llm import anthropic, openai, sse
from flows.steps.llm.talk import Ask, Broken, Reply
from resources.errors import OrchestraError
from resources.http_auth import authorise
from resources.http_client import Fetched, ResponseTooLarge, fetch, http_client
from resources.kinds.llm import LlmSettings

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_EXCERPT: Final = 500
#: what providers say of a question that is too long for the model
_TOO_LONG: Final = ("context_length", "context length", "prompt is too long", "too many tokens", "maximum context")


class Failed(Exception):
    """The exchange ends the attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Line:
    """To the connection of an action. Counts what is used, and stops where the run's budget ends."""

    def __init__(self, ctx: StepContext) -> None:
        self.ctx = ctx
        self.until = time.monotonic() + ctx.timeout
        self.input_tokens = self.output_tokens = 0
        self.cost = 0.0

    def used(self) -> Json:
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "cost": round(self.cost, 6)}

    def tokens_left(self) -> int:
        """Of the run's budget. Raises Failed where it is used up."""
        tokens, cost = self.ctx.meter.left()
        if tokens <= 0 or cost <= 0:
            what = "tokens" if tokens <= 0 else "money"
            raise Failed(Fail(StepError("budget", f"The run's budget of {what} for models is used up.")))
        return int(min(tokens, 10**9))

    def ask(self, ask: Ask) -> Reply:
        """Raises Failed."""
        speaks: Any = openai
        try:
            ref = connection_of(self.ctx.action)
            settings = ref.settings
            if not isinstance(settings, LlmSettings):
                raise Refused(f"The connection {ref.name} is not an llm connection.")
            speaks = anthropic if settings.provider == "anthropic" else openai
            through = replace(ref, settings=settings.as_http())
            client = http_client(through)
            request = client.build_request(
                "POST", settings.address + speaks.PATH, json=speaks.body(ask, settings.address)
            )
            request.headers["idempotency-key"] = self.ctx.key
            for secret in authorise(through, request):
                self.ctx.mask(secret)
            fetched = self._send(client, request, speaks)
        except Refused as e:
            raise Failed(Fail(StepError("refused", str(e)))) from e
        except Changed as e:
            raise Failed(Fail(StepError("conflict", str(e)))) from e
        except Broken as e:
            raise Failed(Retry(StepError("network", self.ctx.masked(str(e))[:MAX_EXCERPT]))) from e
        except DatabaseError as e:
            raise Failed(Retry(StepError("internal", f"The database did not answer: {e}"), acted=False)) from e
        except (httpx2.HTTPError, httpx2.InvalidURL, OrchestraError) as e:
            raise Failed(_broken(e, self.ctx.timeout)) from e
        if not isinstance(fetched.kept, Reply):
            raise Failed(_refusal(fetched, self.ctx))
        self._count(fetched.kept, settings, ask)
        return fetched.kept

    def _send(self, client: httpx2.Client, request: httpx2.Request, speaks: Any) -> Fetched:
        heard = 0

        def said(text: str) -> None:
            nonlocal heard
            heard += len(text)
            self.ctx.tail(text)
            self.ctx.progress(f"{heard} characters", None)

        def keep(status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Reply | None:
            if status != 200:
                return None
            if "text/event-stream" in headers.get("content-type", ""):
                found: Reply = speaks.streamed(chunks, said)
            else:
                found = speaks.whole(b"".join(chunks))
                said(found.text)
            return found

        left = max(0.0, self.until - time.monotonic())
        return fetch(client, request, timeout=left, max_bytes=MAX_BYTES, stop=self.ctx.cancelled, keep=keep)

    def _count(self, reply: Reply, settings: LlmSettings, ask: Ask) -> None:
        cost = settings.cost(ask.model, reply.input_tokens, reply.output_tokens)
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.cost += cost
        self.ctx.meter.add(ask.model, reply.input_tokens, reply.output_tokens, cost)
        self.ctx.log(f"{ask.model}: {reply.input_tokens} tokens in, {reply.output_tokens} out, ended by {reply.finish}")


def _refusal(fetched: Fetched, ctx: StepContext) -> Outcome:
    """What an answer means that is no reply."""
    status = fetched.status
    whole: str = ctx.masked(fetched.body.decode(errors="replace"))
    said, body = _said(whole.encode()), whole[:2000]
    details = {"status": status, "body": body}
    after = retry_after(fetched.header("retry-after"), ctx.now)
    if status in (401, 403):
        return Fail(StepError("refused", f"The key is refused ({status}): {said}", details))
    if status == 429:
        return Retry(StepError("rate_limited", f"Too many requests: {said}", details), after=after, acted=False)
    if status >= 500:
        return Retry(StepError("http_5xx", f"The provider answered {status}: {said}", details), after=after)
    if any(sign in body.lower() for sign in _TOO_LONG):
        return Fail(StepError("input", f"The question is too long for the model: {said}", details))
    return Fail(StepError("http_4xx", f"The provider answered {status}: {said}", details))


def _said(body: bytes) -> str:
    try:
        error = sse.parsed(body).get("error")
    except Broken:
        error = body.decode(errors="replace")
    text = error.get("message") if isinstance(error, dict) else error
    return str(text or "it says nothing more")[:MAX_EXCERPT].rstrip(".") + "."


def _broken(error: Exception, timeout: float) -> Outcome:
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Retry(StepError("connect", f"The provider could not be reached: {error}"), acted=False)
        case httpx2.TimeoutException():
            return Retry(StepError("timeout", f"There was no whole answer within {timeout:g} s."))
        case httpx2.HTTPError() | httpx2.InvalidURL():
            return Retry(StepError("network", f"The exchange broke: {str(error) or type(error).__name__}"))
        case ResponseTooLarge():
            return Fail(StepError("limit", f"The model answers without an end. {error.message}"))
        case OrchestraError():
            return Fail(StepError("refused", error.message, error.details))
    raise error
