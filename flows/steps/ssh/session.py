"""One command over one connection: its streams, its end, and its end before its time. Inside an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from flows.steps.ssh import remote
from flows.steps.ssh.outputs import PIECE, Output, TooMuch
from resources.ssh_client import Access, connect
from resources.stop import Stop

if TYPE_CHECKING:
    import asyncssh

KILLING = 1.7  # seconds that ending the remote process group may take
CLOSING = 0.5
MAX_BANNER = 64 * 1024  # bytes that login scripts may say before our own shell speaks


@dataclass(slots=True)
class Ended:
    """How it ended. `why`: "" by itself | "stopped" | "timeout" | "lost" (the connection) | "too much".

    `began`: our own shell spoke, so the command was run. `killed`: its process group is gone, as far as we were told.
    """

    why: str = ""
    began: bool = False
    exit_code: int | None = None
    signal: str | None = None
    seconds: float = 0.0
    said: str = ""
    line: str = ""  # of the mark, without it
    killed: bool = False


@dataclass(slots=True)
class Command:
    """`text` for the remote shell, which says "`mark` <process group>" first; `stdin`: None is an empty one."""

    text: str
    mark: str
    out: Output
    err: Output
    stdin: BinaryIO | bytes | None = None


class Banner:
    """Takes what is said before the mark out of stdout, and reads the line of the mark."""

    def __init__(self, mark: str) -> None:
        self.mark, self.said, self.line = mark.encode() + b" ", b"", ""

    def pass_on(self, data: bytes) -> bytes:
        """What of it is the command's own."""
        if self.line:
            return data
        self.said += data
        start = self.said.find(self.mark)
        end = self.said.find(b"\n", start) if start >= 0 else -1
        if end < 0:
            if len(self.said) > MAX_BANNER:
                raise TooMuch(f"The login scripts of the server say more than {MAX_BANNER} bytes.")
            return b""
        self.line = self.said[start + len(self.mark) : end].decode("utf-8", "replace") or "?"
        rest, self.said = self.said[end + 1 :], b""
        return rest


@contextlib.contextmanager
def _heard(stop: Stop) -> Iterator[asyncio.Event]:
    """An event of this loop that is set when `stop` is, by whatever thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is through already
            loop.call_soon_threadsafe(event.set)

    with stop.on_stop(tell):
        yield event


async def opened(
    access: Access, sock: socket.socket, within: float, work: Callable[[asyncssh.SSHClientConnection], Awaitable[Any]]
) -> Any:
    """What `work` gives for a connection, which is closed afterwards. Raises SshRefused, SshUnreachable."""
    connection = await connect(access, sock, timeout=within)
    try:
        return await work(connection)
    finally:
        connection.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await connection.wait_closed()


async def run(connection: asyncssh.SSHClientConnection, command: Command, *, seconds: float, stop: Stop) -> Ended:
    """Runs it to its end, or ends its process group when the time is up or somebody asks to stop."""
    import asyncssh

    began, ended, banner = time.monotonic(), Ended(), Banner(command.mark)
    with _heard(stop) as stopped:
        try:
            work = asyncio.ensure_future(_through(connection, command, banner))
            asked = asyncio.ensure_future(stopped.wait())
            await asyncio.wait({work, asked}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                process = work.result()
                _note(ended, process)
            else:
                ended.why = "stopped" if asked.done() else "timeout"
        except TooMuch as error:
            ended.why, ended.said = "too much", str(error)
        except (asyncssh.Error, OSError) as error:
            ended.why, ended.said = "lost", str(error) or type(error).__name__
        if ended.why in ("stopped", "timeout", "too much"):
            ended.killed = await _kill(connection, banner.line)
        await _give_up(work, asked)
    ended.began, ended.line = bool(banner.line), banner.line
    ended.seconds = time.monotonic() - began
    if not ended.began:
        ended.said = ended.said or banner.said.decode("utf-8", "replace")[-500:]
    return ended


async def _give_up(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _note(ended: Ended, process: asyncssh.SSHClientProcess[bytes]) -> None:
    if process.exit_signal is not None:
        ended.signal = process.exit_signal[0]
    elif process.exit_status is None:
        ended.why, ended.said = "lost", "the connection ended before the command did"
    else:
        ended.exit_code = process.exit_status


async def _through(
    connection: asyncssh.SSHClientConnection, command: Command, banner: Banner
) -> asyncssh.SSHClientProcess[bytes]:
    process = await connection.create_process(command.text, encoding=None)
    feeding = asyncio.ensure_future(_feed(process, command.stdin))
    try:
        await asyncio.gather(
            _read(process.stdout, lambda data: command.out.feed(banner.pass_on(data))),
            _read(process.stderr, command.err.feed),
        )
        await process.wait_closed()
    finally:
        await _give_up(feeding)
    return process


async def _read(stream: asyncssh.SSHReader[bytes], feed: Callable[[bytes], None]) -> None:
    while data := await stream.read(PIECE):
        feed(data)


async def _feed(process: asyncssh.SSHClientProcess[bytes], stdin: BinaryIO | bytes | None) -> None:
    """A command that does not read to the end is its own affair."""
    with contextlib.suppress(OSError):
        if isinstance(stdin, bytes):
            process.stdin.write(stdin)
        elif stdin is not None:
            while data := stdin.read(PIECE):
                process.stdin.write(data)
                await process.stdin.drain()
        process.stdin.write_eof()


async def _kill(connection: asyncssh.SSHClientConnection, group: str) -> bool:
    """By a second channel of the same connection. False: nobody can say."""
    import asyncssh

    if not group.isdecimal():
        return False
    try:
        async with asyncio.timeout(KILLING):
            await connection.run(remote.kill(int(group)), check=False, encoding=None)
    except (asyncssh.Error, OSError, TimeoutError):
        return False
    return True
