"""A provider of language models on loopback that speaks the true protocols: chat completions and messages, streamed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = Any


@dataclass
class Say:
    """One reply. `calls`: [(name, arguments as JSON text)]. `finish` as the protocol of chat completions says it."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = "stop"
    tokens: tuple[int, int] = (10, 5)


@dataclass
class Refuse:
    """An error as the providers shape them."""

    status: int
    message: str
    code: str = "error"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Raw:
    """Bytes as they are, after headers that promise a stream."""

    pieces: tuple[bytes, ...]
    pause: float = 0.0
    forever: bool = False
    kind: str = "text/event-stream"


@dataclass
class Provider:
    """`script`: what is said next; the last is repeated. `asked`: bodies, `headers`: of each request."""

    url: str
    script: list[Say | Refuse | Raw]
    asked: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    streams: bool = True

    def next(self) -> Say | Refuse | Raw:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._json(
            200, {"object": "list", "data": [{"id": "small", "object": "model"}, {"id": "large", "object": "model"}]}
        )

    def do_POST(self) -> None:
        provider = self.server.provider
        provider.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        provider.headers.append({k.lower(): v for k, v in self.headers.items()})
        said = provider.next()
        with contextlib.suppress(OSError):
            match said:
                case Refuse(status, message, code, headers):
                    self._json(
                        status, {"type": "error", "error": {"message": message, "type": code, "code": code}}, headers
                    )
                case Raw() as raw:
                    self._raw(raw)
                case Say() as say:
                    self._say(say)

    def _say(self, say: Say) -> None:
        anthropic = self.path.endswith("/messages")
        if not self.server.provider.streams:
            self._json(200, _message(say) if anthropic else _completion(say))
            return
        events = list(_anthropic(say) if anthropic else _openai(say))
        data = b"".join(events)
        # in pieces that respect neither events nor characters
        size = 7 if len(data) < 20_000 else 4093
        self._raw(Raw(tuple(data[i : i + size] for i in range(0, len(data), size))))

    def _raw(self, raw: Raw) -> None:
        self.send_response(200)
        self.send_header("content-type", raw.kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while True:
            for piece in raw.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if raw.pause and self.server.provider.over.wait(raw.pause):
                    return
            if not raw.forever or self.server.provider.over.is_set():
                break
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, value: Json, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Tests have nothing to say on stderr."""


def _event(value: Json, name: str = "") -> bytes:
    head = f"event: {name}\r\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\r\n\r\n".encode()


def _openai(say: Say) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event({"id": "c1", "object": "chat.completion.chunk", "model": "small-1", "choices": [choice]})

    yield b": OPENROUTER PROCESSING\r\n\r\n"
    yield chunk({"role": "assistant", "content": ""})
    for word in _pieces(say.text):
        yield chunk({"content": word})
    for index, (name, arguments) in enumerate(say.calls):
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        yield chunk({"tool_calls": [head]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "tool_calls" if say.calls else say.finish)
    usage = {"prompt_tokens": say.tokens[0], "completion_tokens": say.tokens[1], "total_tokens": sum(say.tokens)}
    yield _event({"id": "c1", "object": "chat.completion.chunk", "model": "small-1", "choices": [], "usage": usage})
    yield b"data: [DONE]\r\n\r\n"


def _completion(say: Say) -> Json:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": n, "arguments": a}}
        for i, (n, a) in enumerate(say.calls)
    ]
    message = {"role": "assistant", "content": say.text or None, **({"tool_calls": calls} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else say.finish}
    usage = {"prompt_tokens": say.tokens[0], "completion_tokens": say.tokens[1]}
    return {"id": "c1", "object": "chat.completion", "model": "small-1", "choices": [choice], "usage": usage}


_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def _reason(say: Say) -> str:
    return "tool_use" if say.calls else _REASONS[say.finish]


def _anthropic(say: Say) -> Iterator[bytes]:
    usage = {"input_tokens": say.tokens[0] - 4, "cache_read_input_tokens": 4, "output_tokens": 1}
    start = {"id": "m1", "type": "message", "role": "assistant", "model": "small-1", "content": [], "usage": usage}
    yield _event({"type": "message_start", "message": start}, "message_start")
    yield _event({"type": "ping"}, "ping")
    index = 0
    if say.text:
        yield _block(index, {"type": "text", "text": ""})
        for word in _pieces(say.text):
            yield _delta(index, {"type": "text_delta", "text": word})
        yield _event({"type": "content_block_stop", "index": index}, "content_block_stop")
        index += 1
    for name, arguments in say.calls:
        yield _block(index, {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}})
        for piece in _pieces(arguments):
            yield _delta(index, {"type": "input_json_delta", "partial_json": piece})
        yield _event({"type": "content_block_stop", "index": index}, "content_block_stop")
        index += 1
    end = {"type": "message_delta", "delta": {"stop_reason": _reason(say)}, "usage": {"output_tokens": say.tokens[1]}}
    yield _event(end, "message_delta")
    yield _event({"type": "message_stop"}, "message_stop")


def _block(index: int, block: Json) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block}, "content_block_start")


def _delta(index: int, delta: Json) -> bytes:
    return _event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")


def _message(say: Say) -> Json:
    text = [{"type": "text", "text": say.text}] if say.text else []
    uses = [
        {"type": "tool_use", "id": f"toolu_{i}", "name": n, "input": json.loads(a)}
        for i, (n, a) in enumerate(say.calls)
    ]
    usage = {"input_tokens": say.tokens[0], "output_tokens": say.tokens[1]}
    content = [*text, *uses]
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "small-1",
        "content": content,
        "stop_reason": _reason(say),
        "usage": usage,
    }


def _pieces(text: str) -> Iterator[str]:
    return (
        text[i : i + (5 if len(text) < 5000 else 5000)] for i in range(0, len(text), 5 if len(text) < 5000 else 5000)
    )


@contextlib.contextmanager
def provider(*script: Say | Refuse | Raw) -> Iterator[Provider]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.provider = Provider(f"http://127.0.0.1:{server.server_port}/v1", list(script) or [Say("Hello.")])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.provider
    finally:
        server.provider.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


Start = Callable[..., Provider]
