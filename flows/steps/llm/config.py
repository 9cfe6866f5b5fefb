"""llm: asks a language model. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from flows.steps.fields import Config, Json, Name, Templated, TText

#: families a model may use as tools, as long as what they do changes nothing
TOOL_FAMILIES: Final = ("http", "function", "kv", "db", "search")
#: what stands in a tool's own config for the marks of an expression, until the model has said what to call it with
OPENING, CLOSING = "⟦", "⟧"


class Message(Config):
    """One turn of a conversation."""

    role: Literal["user", "assistant"] = Field(default="user", description="who says it")
    content: TText = Field(description="what is said")


class Tool(Config):
    """Something that the model may call: a step of another family that changes nothing."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,62}$")] = Field(description="what the model calls it")
    description: TText = Field(description="what it does, for the model")
    parameters: dict[str, Json] = Field(
        default_factory=lambda: {"type": "object", "properties": {}},
        description="JSON Schema of its arguments: an object",
    )
    given: dict[str, Annotated[Json, Templated()]] = Field(
        default_factory=dict, description="values of the run, worked out before the model is asked: `given` in `do`"
    )
    do: dict[str, Json] = Field(
        description="a family and its config; expressions read `args`, what the model said, and `given`"
    )

    @model_validator(mode="after")
    def _one_family(self) -> Tool:
        if len(self.do) != 1 or next(iter(self.do)) not in TOOL_FAMILIES:
            raise ValueError(f"`do` has exactly one of {', '.join(TOOL_FAMILIES)}")
        return self


class LlmConfig(Config):
    """Asks a language model through a connection. Give `prompt` or `messages`; with `schema` the answer is JSON that
    keeps it."""

    connection: Name = Field(description="name of an llm connection")
    model: TText | None = Field(default=None, description="else the connection's")
    system: TText | None = Field(default=None, description="instructions that go before all")
    prompt: TText | None = Field(default=None, description="one question")
    messages: Annotated[list[Message], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="a conversation so far; its last word is the user's"
    )
    answer: dict[str, Json] | None = Field(
        default=None, alias="schema", description="JSON Schema of the answer; one that breaks it is asked for once more"
    )
    tools: Annotated[list[Tool], Field(max_length=20)] = Field(
        default_factory=list, description="what the model may call before it answers"
    )
    max_turns: Annotated[int, Field(ge=1, le=50), Templated()] = Field(
        default=8, description="questions to the model at most, with tools or a broken answer"
    )
    max_tokens: Annotated[int, Field(ge=1, le=200_000), Templated()] = Field(
        default=2048, description="tokens of one answer at most"
    )
    temperature: Annotated[float | int, Field(ge=0, le=2), Templated()] | None = Field(
        default=None, description="0 to 2; else the model's own"
    )

    @model_validator(mode="after")
    def _one_question(self) -> LlmConfig:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of prompt and messages")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("the last message is the user's")
        names = [tool.name for tool in self.tools]
        if "answer" in names:
            raise ValueError("a tool cannot be called answer, which is how a model gives its answer")
        if len(set(names)) < len(names):
            raise ValueError("two tools have the same name")
        return self


def sealed(config: dict[str, Json]) -> dict[str, Json]:
    """A config as written, with the expressions of its tools kept for later. Raises ValueError where it has the marks
    that stand for them already."""
    tools = config.get("tools")
    if not isinstance(tools, list):
        return config
    return {**config, "tools": [{**t, "do": _swap(t["do"], seal=True)} if _has_do(t) else t for t in tools]}


def _has_do(tool: Json) -> bool:
    return isinstance(tool, dict) and "do" in tool


def opened(do: Json) -> Json:
    """What `sealed` made, as it was written."""
    return _swap(do, seal=False)


def _swap(value: Json, *, seal: bool) -> Json:
    if isinstance(value, str):
        if not seal:
            return value.replace(OPENING, "${{").replace(CLOSING, "}}")
        if OPENING in value or CLOSING in value:
            raise ValueError(f"the characters {OPENING} and {CLOSING} cannot stand in a tool")
        return value.replace("${{", OPENING).replace("}}", CLOSING) if "${{" in value else value
    if isinstance(value, dict):
        return {key: _swap(inner, seal=seal) for key, inner in value.items()}
    return [_swap(inner, seal=seal) for inner in value] if isinstance(value, list) else value
