"""An attempt's way to its server, and what it means when that way breaks."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import OperationalError

from flows.steps.base import Fail, Outcome, Refused, Retry, StepContext, StepError
from flows.steps.connecting import Changed, connection_of
from flows.steps.ssh import remote
from flows.steps.ssh.outputs import NotJson, Output, TooMuch
from flows.steps.ssh.session import Ended, opened
from resources.errors import OrchestraError, TooLarge
from resources.network import AddressRefused
from resources.ssh_client import Access, SshUnreachable, access_of, dial, in_loop

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")


class Line:
    """Raises Refused, Changed and OrchestraError when it is made. Its times are monotonic seconds."""

    def __init__(self, ctx: StepContext, end: float) -> None:
        self.ctx, self.end = ctx, end
        self.access: Access = access_of(connection_of(ctx.action))
        for value in self.access.secrets:
            ctx.mask(value)

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def call(self, work: Callable[[asyncssh.SSHClientConnection], Awaitable[T]]) -> T:
        """What `work` gives, over a connection of its own. Raises AddressRefused, SshRefused, SshUnreachable."""
        sock = self._dial()
        found: T = in_loop(lambda: opened(self.access, sock, self._within(), work))
        return found

    async def call_again(self, work: Callable[[asyncssh.SSHClientConnection], Awaitable[T]]) -> T:
        """The same from inside a loop."""
        sock = await asyncio.to_thread(self._dial)
        found: T = await opened(self.access, sock, self._within(), work)
        return found

    def _within(self) -> float:
        return max(0.1, min(self.access.settings.connect_timeout, self.left()))

    def _dial(self) -> socket.socket:
        return dial(self.access, timeout=self._within(), stop=self.ctx.cancelled)

    def output(self, name: str) -> Output:
        most = min(self.ctx.action.config.get("max_output") or float("inf"), settings.MAX_RESOURCE_BYTES)
        return Output(name, int(most), self.ctx.tail)


def new_mark() -> str:
    """Not to be guessed: nothing that the other side says by itself is taken for it."""
    return f"{remote.MARK}-{secrets.token_hex(8)}"


def settled(ctx: StepContext, work: Callable[[Line], Outcome]) -> Outcome:
    """The outcome of `work`, or of what kept it from being done."""
    end = time.monotonic() + ctx.timeout
    try:
        return work(Line(ctx, end))
    except Refused as error:
        return Fail(StepError("refused", str(error)))
    except Changed as error:
        return Fail(StepError("conflict", str(error)))
    except OperationalError as error:
        return Retry(StepError("internal", f"The database did not answer: {error}"))
    except SshUnreachable as error:
        late = ctx.cancelled.is_set() or time.monotonic() >= end
        return Retry(StepError("timeout" if late else "connect", error.message), acted=False)
    except (TooLarge, TooMuch) as error:
        return Fail(StepError("limit", str(getattr(error, "message", error))))
    except NotJson as error:
        return Fail(StepError("input", str(error)))
    except AddressRefused as error:
        return Fail(StepError("refused", error.message, error.details))
    except OrchestraError as error:  # a host key, an account, a secret that is gone
        return Fail(StepError("refused", f"{error.message} {error.hint}".strip(), error.details))


def broken(line: Line, ended: Ended) -> Outcome | None:
    """What an end before its time means. None: it ended by itself, and it was the command that did."""
    place, gone = line.access.place, "Its process group was ended." if ended.killed else "It may still be running."
    if ended.why == "stopped":
        return Retry(StepError("cancelled", f"The command on {place} was asked to stop. {gone}"))
    if ended.why == "timeout":
        return Retry(StepError("timeout", f"The command on {place} did not end within {line.ctx.timeout:g} s. {gone}"))
    if ended.why == "lost":
        return Retry(StepError("network", f"The connection to {place} broke: {ended.said}"))
    if ended.why == "too much":
        return Fail(StepError("limit", f"{ended.said} {gone}"))
    if not ended.began:
        said = f" It says: {ended.said.strip()}" if ended.said.strip() else ""
        return Fail(StepError("refused", f"{place} did not run the command, but something else.{said}"))
    return None
