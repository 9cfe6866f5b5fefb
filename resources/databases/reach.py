"""Reaching a database: the addresses that may be connected to, and a bound on what no library lets one stop."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpcore2

from resources import network
from resources.errors import OrchestraError
from resources.kinds.databases import ServerSettings
from resources.stop import Stop

T = TypeVar("T")
CONNECT_SECONDS = 10.0
_MAX_TRIED = 3


class Unreachable(OrchestraError):
    """No session came about; nothing was sent that could have an effect."""

    code = "database_unreachable"
    status = 503


class TooSlow(Unreachable):
    """The time was up, or the attempt was asked to stop, before there was a session."""

    code = "database_too_slow"


class Denied(OrchestraError):
    """The server was reached and lets this account, or this client, not in."""

    code = "database_denied"
    status = 403


def untrusted(where: str, said: str) -> Denied:
    """A server whose certificate is not what the connection asks for, or that has none."""
    if "support" in said:
        hint = "Give it a certificate, or change `tls` of the connection."
    else:
        hint = "Look at `host`, which must be a name in its certificate, and at `ca`, the authority that signed it."
    return Denied(f"{where} cannot be trusted as the connection asks: {said}. {hint}")


def addresses(settings: ServerSettings, seconds: float) -> list[str]:
    """Checked addresses of the host, from one resolution. Raises Unreachable, network.AddressRefused."""
    try:
        found = network.look_up(settings.host, settings.port, seconds)
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
        raise Unreachable(str(error)) from error
    network.check_all(settings.host, found, network.networks(settings.allow_networks))
    return [str(ip) for ip in found[:_MAX_TRIED]]


def bounded(make: Callable[[], T], unmake: Callable[[T], None], seconds: float, stop: Stop | None) -> T:
    """What `make` gives, within `seconds` and only until `stop` is asked for.

    `make` gets a thread that nobody waits for longer: what it makes too late is unmade. Raises TooSlow, and what `make`
    raises.
    """
    answers: queue.Queue[T | BaseException | None] = queue.Queue()
    lock, given_up = threading.Lock(), threading.Event()

    def run() -> None:
        try:
            made: T | BaseException = make()
        except BaseException as error:  # noqa: BLE001  handed to whoever waits, which raises it
            made = error
        with lock:
            late = given_up.is_set()
            answers.put(made)
        if late and not isinstance(made, BaseException):
            unmake(made)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="database").start()
    if stop is None:
        found = _take(answers, seconds)
    else:
        with stop.on_stop(lambda: answers.put(None)):
            found = _take(answers, seconds)
    if found is None:
        with lock:
            given_up.set()
            found = next((a for a in _rest(answers) if a is not None), None)  # it came at that very moment
    if found is None:
        raise TooSlow("The server gave no session in time. Is it a database of this kind, and does it have room?")
    if isinstance(found, BaseException):
        raise found
    return found


def _take(answers: queue.Queue[T | BaseException | None], seconds: float) -> T | BaseException | None:
    try:
        return answers.get(timeout=max(seconds, 0.01))
    except queue.Empty:
        return None


def _rest(answers: queue.Queue[T | BaseException | None]) -> list[T | BaseException | None]:
    found = []
    while not answers.empty():
        found.append(answers.get())
    return found


class Clock:
    """Seconds left until a moment, never less than `least`."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, least: float = 0.01) -> float:
        return max(least, self._end - time.monotonic())
