"""One POST to an endpoint: within a total time, no redirect followed, the answer's beginning read. No database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import httpx2

from flows.steps.http.answer import retry_after
from resources import http_auth, network
from resources.errors import OrchestraError
from runs.outbound.claims import Sent
from runs.outbound.letters import Letter
from runs.outbound.policy import Answer

#: bytes of an answer that are read; the rest is nobody's business
MAX_ANSWER: Final = 2_048


def post(letter: Letter, *, delivery: int, fence: int, timeout: float, wall: Callable[[], float] = time.time) -> Sent:
    """Never raises for what the other side or the network does. `timeout`: seconds for all of it."""
    start = time.monotonic()
    answer, text = _exchange(letter, timeout, wall)
    if answer.status == 401 and letter.ref is not None:
        http_auth.refused(letter.ref, letter.request)  # the next attempt asks for a fresh token
    excerpt = letter.masker.text(text).replace("\0", "")
    shown = Answer(answer.status, letter.masker.text(answer.error), answer.retry_after)
    return Sent(delivery, fence, shown, time.monotonic() - start, excerpt)


def _exchange(letter: Letter, timeout: float, wall: Callable[[], float]) -> tuple[Answer, str]:
    request = letter.request
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
    try:
        with network.total_time(timeout):
            response = letter.client.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                return _judged(response, wall()), _beginning(response)
            finally:
                response.close()
    except httpx2.TimeoutException:
        return Answer(None, f"No answer within {timeout:g} s."), ""
    except OrchestraError as error:
        return Answer(None, f"{error.message} {error.hint}".strip()), ""
    except httpx2.HTTPError as error:
        return Answer(None, f"Not reached: {str(error) or type(error).__name__}"), ""


def _judged(response: httpx2.Response, now: float) -> Answer:
    status = response.status_code
    error = ""
    if 300 <= status < 400:
        error = f"Answered {status}: redirects are not followed."
    elif not 200 <= status < 300:
        error = f"Answered {status}."
    return Answer(status, error, retry_after(response.headers.get("retry-after"), now))


def _beginning(response: httpx2.Response) -> str:
    """As text; nothing of a compressed answer, which nobody asked for. A body that breaks off takes nothing back."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    read = bytearray()
    try:
        for chunk in response.iter_raw():
            read += chunk
            if len(read) >= MAX_ANSWER:
                break
    except httpx2.HTTPError:
        pass
    return bytes(read[:MAX_ANSWER]).decode(errors="replace")
