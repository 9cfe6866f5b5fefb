"""llm: a question to a language model, with tools and a bound on everything."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel

from flows.definition.inputs import validate_input
from flows.definition.jsonguard import JsonError, check_json
from flows.steps.base import Action, Done, Fail, Family, Json, Outcome, Refused, StepContext, StepError
from flows.steps.llm import anthropic, tools
from flows.steps.llm.config import LlmConfig, sealed
from flows.steps.llm.line import Failed, Line
from flows.steps.llm.talk import Ask, Call, Reply, Result, Turn
from resources.kinds.llm import LlmSettings

MAX_SHOWN: Final = 300  # characters of a question in a sentence
MAX_KEPT: Final = 1000  # characters of a tool's result in the output


class LlmFamily(Family):
    name: ClassVar[str] = "llm"
    Config: ClassVar[type[BaseModel]] = LlmConfig
    title: ClassVar[str] = "Language model"
    summary: ClassVar[str] = "Asks a language model, with tools and an answer that keeps a schema."
    icon: ClassVar[str] = "comment"
    connection_kinds: ClassVar[tuple[str, ...]] = ("llm",)
    has_effect: ClassVar[bool] = False

    def at_start(self, config: Json) -> Json:
        try:
            return sealed(config)
        except ValueError as e:
            raise Refused(str(e)) from e

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        config = cast(LlmConfig, config)
        if not isinstance(connection, LlmSettings):
            raise Refused(f"The connection {config.connection!r} is not an llm connection")
        model = config.model or connection.model
        if not model:
            raise Refused("Name a model, here or on the connection")
        turns = [m.model_dump(mode="json") for m in config.messages or ()]
        return {
            "model": model,
            "system": config.system,
            "messages": turns or [{"role": "user", "content": config.prompt}],
            "schema": config.answer,
            "tools": [tool.model_dump(mode="json") for tool in config.tools],
            "max_turns": config.max_turns,
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
        }

    def describe(self, action: Action) -> str:
        text = str(action.config["messages"][-1]["content"])
        shown = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
        return f"Asks {action.config['model']}: {shown}"

    def execute(self, ctx: StepContext) -> Outcome:
        try:
            return _Conversation(ctx, Line(ctx)).held()
        except Failed as e:
            return e.outcome


class _Conversation:
    """One attempt: questions and tool calls until there is an answer."""

    def __init__(self, ctx: StepContext, line: Line) -> None:
        self.ctx, self.line, self.config = ctx, line, ctx.action.config
        self.tools = {tool["name"]: tool for tool in self.config["tools"]}
        self.turns = [Turn(m["role"], m["content"]) for m in self.config["messages"]]
        self.calls: list[Json] = []
        self.asked_again = False
        self.until = time.monotonic() + ctx.timeout

    def held(self) -> Outcome:
        for number in range(1, self.config["max_turns"] + 1):
            self.ctx.progress(f"question {number}", None)
            reply = self.line.ask(self._ask())
            if reply.finish == "refused":
                return Fail(
                    StepError(
                        "refused", f"The model refused: {self.ctx.masked(reply.text)[:500] or 'it gave no reason'}"
                    )
                )
            given = _given(reply)
            if reply.calls and given is None:
                self._use(reply)
            elif (outcome := self._judged(reply, given)) is not None:
                return outcome
        return Fail(StepError("limit", f"There is no answer after {self.config['max_turns']} questions."))

    def _ask(self) -> Ask:
        config = self.config
        tokens = min(config["max_tokens"], self.line.tokens_left())
        shown = tuple({k: tool[k] for k in ("name", "description", "parameters")} for tool in config["tools"])
        return Ask(
            config["model"], tuple(self.turns), tokens, config["system"], config["temperature"], shown, config["schema"]
        )

    def _use(self, reply: Reply) -> None:
        """What the tools give is the next thing that the model reads."""
        results = []
        for call in reply.calls:
            result = tools.run(self.ctx, self.tools, call, len(self.calls), self._left())
            self.calls.append(_kept(call, result))
            self.ctx.log(f"tool {call.name[:80]}: {'done' if result.ok else result.text[:200]}")
            results.append(result)
        self.turns += [Turn("assistant", reply.text, reply.calls), Turn("tool", results=tuple(results))]

    def _left(self) -> float:
        return max(0.0, self.until - time.monotonic())

    def _judged(self, reply: Reply, given: Call | None) -> Outcome | None:
        """The step's outcome; None: the model is asked once more."""
        if self.config["schema"] is None:
            return Done(self._output(reply, None))
        value, breach = _read(self.config["schema"], reply, given)
        if not breach:
            return Done(self._output(reply, value))
        self.ctx.log(f"the answer breaks its schema: {breach}")
        if self.asked_again or reply.finish == "length":
            cut = " It was cut off at max_tokens." if reply.finish == "length" else ""
            details = {"answer": self.ctx.masked(given.arguments if given else reply.text)[:2000]}
            return Fail(StepError("contract", f"The answer breaks its schema: {breach}.{cut}", details))
        self.asked_again = True
        again = f"That breaks the schema: {breach}. Give the answer again, as JSON that keeps it, and nothing else."
        self.turns.append(Turn("assistant", reply.text, reply.calls))
        if reply.calls:
            self.turns.append(Turn("tool", results=tuple(Result(c, again, ok=False) for c in reply.calls)))
        else:
            self.turns.append(Turn("user", again))
        return None

    def _output(self, reply: Reply, value: Json) -> Json:
        return {
            "text": reply.text,
            "json": value,
            "finish_reason": reply.finish,
            "model": reply.model or self.config["model"],
            "usage": self.line.used(),
            "calls": self.calls,
        }


def _given(reply: Reply) -> Call | None:
    """The answer, where the model gives it by a call."""
    return next((call for call in reply.calls if call.name == anthropic.ANSWER), None)


def _read(schema: dict[str, Json], reply: Reply, given: Call | None) -> tuple[Json, str]:
    """(the answer, what is wrong with it or "")."""
    text = given.arguments if given is not None else _unfenced(reply.text)
    try:
        value: Any = json.loads(text)
        if given is not None:
            value = value["value"]
        check_json(value, max_bytes=4 * len(text) + 1000)
        problems = validate_input(schema, value)
    except (ValueError, KeyError, TypeError, RecursionError, JsonError) as e:
        return None, f"it is not JSON ({str(e)[:200]})"
    said = (f"{'.'.join(map(str, p['path']))}: {p['message']}" if p["path"] else p["message"] for p in problems[:5])
    return value, "; ".join(said)


def _unfenced(text: str) -> str:
    """Models like to put a fence of Markdown around their JSON."""
    lines = text.strip().splitlines()
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```"
    return "\n".join(lines[1:-1]) if fenced else text


def _kept(call: Call, result: Result) -> Json:
    """A call as the output tells it."""
    shown = replace(result, text=result.text[:MAX_KEPT])
    return {"tool": call.name[:80], "arguments": call.arguments[:MAX_KEPT], "ok": shown.ok, "result": shown.text}
