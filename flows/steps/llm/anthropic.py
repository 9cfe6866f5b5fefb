"""The Messages API as Anthropic speaks it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from flows.steps.llm import sse
from flows.steps.llm.talk import Ask, Broken, Building, Reply, Turn, count

Json = Any
PATH: Final = "/messages"
#: the tool by which the model gives an answer that has a schema
ANSWER: Final = "answer"
_FINISH: Final = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length", "tool_use": "tools",
    "refusal": "refused",
}  # fmt: skip


def body(ask: Ask, address: str) -> dict[str, Json]:
    said: dict[str, Json] = {
        "model": ask.model,
        "max_tokens": ask.max_tokens,
        "messages": [_message(turn) for turn in ask.turns],
        "stream": True,
    }
    if ask.system:
        said["system"] = ask.system
    if ask.temperature is not None:
        said["temperature"] = min(1.0, ask.temperature)
    tools = [{"name": t["name"], "description": t["description"], "input_schema": t["parameters"]} for t in ask.tools]
    if ask.schema is not None:
        schema = {"type": "object", "properties": {"value": ask.schema}, "required": ["value"]}
        tools.append(
            {"name": ANSWER, "description": "Gives the answer. Call it once, at the end.", "input_schema": schema}
        )
        said["tool_choice"] = {"type": "any"} if ask.tools else {"type": "tool", "name": ANSWER}
    if tools:
        said["tools"] = tools
    return said


def _message(turn: Turn) -> dict[str, Json]:
    if turn.role == "tool":
        parts = [
            {"type": "tool_result", "tool_use_id": r.call.id, "content": r.text, "is_error": not r.ok}
            for r in turn.results
        ]
        return {"role": "user", "content": parts}
    if not turn.calls:
        return {"role": turn.role, "content": turn.text or "(nothing)"}
    said = [{"type": "text", "text": turn.text}] if turn.text else []
    uses = [{"type": "tool_use", "id": c.id, "name": c.name, "input": _arguments(c.arguments)} for c in turn.calls]
    return {"role": "assistant", "content": [*said, *uses]}


def _arguments(text: str) -> Json:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def streamed(chunks: Iterable[bytes], said: Callable[[str], None]) -> Reply:
    """`said` is told the text as it comes. Raises Broken."""
    building = Building()
    for event in sse.objects(chunks):
        try:
            _take(building, event, said)
        except (AttributeError, TypeError) as error:
            raise Broken("The answer has another shape than messages have.") from error
    return building.done()


def _take(building: Building, event: dict[str, Any], said: Callable[[str], None]) -> None:
    match event.get("type"):
        case "message_start":
            message = event.get("message") or {}
            building.model = str(message.get("model") or "")
            _count(building, message.get("usage") or {})
        case "content_block_start":
            _begin(building, event.get("index"), event.get("content_block") or {})
        case "content_block_delta":
            delta = event.get("delta") or {}
            if delta.get("type") == "text_delta":
                building.text.append(str(delta.get("text") or ""))
                said(building.text[-1])
            elif delta.get("type") == "input_json_delta":
                building.call(event.get("index"))["arguments"] += str(delta.get("partial_json") or "")
        case "message_delta":
            _count(building, event.get("usage") or {})
            reason = (event.get("delta") or {}).get("stop_reason")
            building.finish = _FINISH.get(reason, "stop") if reason else building.finish
        case "error":
            error = event.get("error") or {}
            raise Broken(f"The model broke off: {str(error.get('message')).rstrip('.')}.")


def _begin(building: Building, index: Any, block: dict[str, Any]) -> None:
    if block.get("type") == "tool_use":
        held = building.call(index)
        held["id"], held["name"] = str(block.get("id") or ""), str(block.get("name") or "")


def _count(building: Building, usage: dict[str, Any]) -> None:
    cached = count(usage.get("cache_read_input_tokens")) + count(usage.get("cache_creation_input_tokens"))
    building.input_tokens = (count(usage.get("input_tokens")) + cached) or building.input_tokens
    building.output_tokens = count(usage.get("output_tokens")) or building.output_tokens


def whole(data: bytes) -> Reply:
    """An answer that does not stream. Raises Broken."""
    building, message = Building(), sse.parsed(data)
    try:
        _take(building, {"type": "message_start", "message": message}, lambda text: None)
        for index, block in enumerate(message.get("content") or []):
            _begin(building, index, block)
            if block.get("type") == "tool_use":
                building.call(index)["arguments"] = json.dumps(block.get("input") or {})
            elif block.get("type") == "text":
                building.text.append(str(block.get("text") or ""))
        _take(building, {"type": "message_delta", "delta": message}, lambda text: None)
    except (AttributeError, TypeError) as error:
        raise Broken("The answer has another shape than messages have.") from error
    return building.done()
