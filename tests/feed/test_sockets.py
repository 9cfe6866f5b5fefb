"""The short way to a browser: one frame for all, in order, and nobody is waited for."""

from __future__ import annotations

import asyncio

import pytest
from daphne.ws_protocol import WebSocketProtocol
from websockets.frames import Frame
from websockets.streams import StreamReader

from orchestra.web.gate import Gate
from orchestra.web.sockets import Socket, framed
from runs.feed.consumers import OUTBOX, TOO_SLOW, LiveConsumer


class Wire:
    """A connection whose other end takes `room` bytes at once."""

    TLS = False

    def __init__(self, room: int = 1 << 20) -> None:
        self.room, self.at_once, self.dataBuffer, self._tempDataBuffer = room, b"", b"", list[bytes]()

    def writeSomeData(self, data: bytes) -> int | Exception:
        taken = data[: self.room - len(self.at_once)]
        self.at_once += taken
        return len(taken)

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)

    def all(self) -> bytes:
        return self.at_once + b"".join(self._tempDataBuffer)


def opened(wire: Wire, *, plain: bool = True) -> Socket:
    one = Socket()
    one.transport, one.state, one.gate, one._plain = wire, WebSocketProtocol.STATE_OPEN, Gate(), plain
    return one


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_001])
def test_a_text_of_any_length_is_one_frame_as_the_standard_has_it(size: int) -> None:
    reader = StreamReader()
    reader.feed_data(framed("é" + "x" * size))
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    assert (parsed.value.value.data.decode(), parsed.value.value.fin) == ("é" + "x" * size, True)


def test_what_a_browser_has_no_room_for_follows_in_order() -> None:
    wire = Wire(room=10)
    one = opened(wire)
    assert one.post("first of two")
    wire.room = 100
    assert one.post("second")
    assert wire.all() == framed("first of two") + framed("second")
    assert len(wire.at_once) == 10


def test_a_connection_that_is_lost_is_left_to_its_owner() -> None:
    wire = Wire()
    wire.writeSomeData = lambda data: ConnectionResetError()  # type: ignore[method-assign]
    assert opened(wire).post("a")
    assert wire.all() == framed("a")


def test_nothing_is_written_past_an_encrypted_connection() -> None:
    wire = Wire()
    opened(wire, plain=False).post("a")
    assert (wire.at_once, wire._tempDataBuffer) == (b"", [framed("a")])


def test_a_browser_that_takes_nothing_gets_nothing_more_until_it_does() -> None:
    wire = Wire()
    one = opened(wire)
    assert one.gate is not None
    one.gate.pauseProducing()
    assert not one.post("a")
    assert wire.all() == b""
    one.gate.resumeProducing()
    assert one.post("a")


class Told(LiveConsumer):
    def __init__(self, *, takes: bool) -> None:
        self.takes, self.said, self.closed = takes, list[str](), 0
        self.outbox = asyncio.Queue(OUTBOX)
        self.post = self._post

    def _post(self, text: str) -> bool:
        self.said += [text] if self.takes else []
        return self.takes

    def drop(self, code: int) -> None:
        self.closed = code


def test_a_notice_waits_behind_those_that_wait_already() -> None:
    one = Told(takes=False)
    one.push("a")
    one.takes = True
    one.push("b")
    assert [one.outbox.get_nowait(), one.outbox.get_nowait(), one.said] == ["a", "b", []]


def test_who_has_too_much_to_take_is_dropped() -> None:
    one = Told(takes=False)
    for number in range(OUTBOX):
        one.push(str(number))
    assert one.closed == 0
    one.push("one too many")
    assert one.closed == TOO_SLOW
