"""Chat completions as OpenAI and the servers compatible with it speak them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from flows.steps.llm import sse
from flows.steps.llm.talk import Ask, Broken, Building, Reply, Turn, count

Json = Any
PATH: Final = "/chat/completions"
_FINISH: Final = {"stop": "stop", "length": "length", "tool_calls": "tools", "content_filter": "refused"}


def body(ask: Ask, address: str) -> dict[str, Json]:
    """`address` of the connection: OpenAI's own models take another name for the bound than most servers do."""
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    bound = "max_completion_tokens" if "//api.openai.com" in address else "max_tokens"
    said: dict[str, Json] = {
        "model": ask.model,
        "messages": [*messages, *(message for turn in ask.turns for message in _messages(turn))],
        bound: ask.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if ask.temperature is not None:
        said["temperature"] = ask.temperature
    if ask.tools:
        said["tools"] = [{"type": "function", "function": tool} for tool in ask.tools]
    if ask.schema is not None:
        shape = {"name": "answer", "schema": ask.schema}
        said["response_format"] = {"type": "json_schema", "json_schema": shape}
    return said


def _messages(turn: Turn) -> list[dict[str, Json]]:
    if turn.role == "tool":
        return [{"role": "tool", "tool_call_id": r.call.id, "content": r.text} for r in turn.results]
    message: dict[str, Json] = {"role": turn.role, "content": turn.text or (None if turn.calls else "")}
    if turn.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in turn.calls
        ]
    return [message]


def streamed(chunks: Iterable[bytes], said: Callable[[str], None]) -> Reply:
    """`said` is told the text as it comes. Raises Broken."""
    building = Building()
    for event in sse.objects(chunks):
        if event.get("error"):
            raise Broken(f"The model broke off: {_error(event['error'])}")
        _take(building, event, "delta", said)
    return building.done()


def whole(data: bytes) -> Reply:
    """An answer of a server that does not stream. Raises Broken."""
    building = Building()
    _take(building, sse.parsed(data), "message", lambda text: None)
    return building.done()


def _take(building: Building, event: dict[str, Any], key: str, said: Callable[[str], None]) -> None:
    try:
        building.model = str(event.get("model") or building.model)
        usage = event.get("usage") or {}
        building.input_tokens = count(usage.get("prompt_tokens")) or building.input_tokens
        building.output_tokens = count(usage.get("completion_tokens")) or building.output_tokens
        for choice in (event.get("choices") or [])[:1]:
            delta = choice.get(key) or {}
            _text(building, delta, said)
            for place, call in enumerate(delta.get("tool_calls") or []):
                _call(building, call, place)
            if choice.get("finish_reason"):
                building.finish = _FINISH.get(choice["finish_reason"], "stop")
    except (AttributeError, TypeError) as error:
        raise Broken("The answer has another shape than chat completions have.") from error


def _text(building: Building, delta: dict[str, Any], said: Callable[[str], None]) -> None:
    if isinstance(delta.get("refusal"), str) and delta["refusal"]:
        building.text.append(delta["refusal"])
        building.finish = "refused"
    if isinstance(delta.get("content"), str):
        building.text.append(delta["content"])
        said(delta["content"])


def _call(building: Building, call: dict[str, Any], place: int) -> None:
    held, function = building.call(call.get("index", place)), call.get("function") or {}
    held["id"] = str(call.get("id") or held["id"])
    held["name"] += str(function.get("name") or "")
    held["arguments"] += str(function.get("arguments") or "")


def _error(error: Json) -> str:
    return f"{str(error.get('message') if isinstance(error, dict) else error).rstrip('.')}."
