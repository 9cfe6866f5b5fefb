"""A conversation with a model, whatever the provider. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = Any


class Broken(Exception):
    """The other side does not keep its protocol; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model wants to use; `arguments` is the text it wrote, which should be a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call, as the model reads it."""

    call: Call
    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """role: user | assistant | tool. A tool's turn answers all calls of the assistant's before it."""

    role: str
    text: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """Everything a request says. `schema`: of the answer."""

    model: str
    turns: tuple[Turn, ...]
    max_tokens: int
    system: str | None = None
    temperature: float | None = None
    tools: tuple[dict[str, Json], ...] = ()
    schema: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """finish: stop | length | tools | refused. Tokens as the provider counted them."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""


@dataclass
class Building:
    """A reply that comes in pieces."""

    text: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""

    def call(self, index: Any) -> dict[str, str]:
        if not isinstance(index, int) or not 0 <= index < 128:
            raise Broken("The model calls more tools at once than may be.")
        return self.calls.setdefault(index, {"id": "", "name": "", "arguments": ""})

    def done(self) -> Reply:
        """Raises Broken for a reply that ended in the middle."""
        if self.finish is None:
            raise Broken("The answer ended in the middle.")
        calls = tuple(Call(c["id"] or f"call_{i}", c["name"], c["arguments"]) for i, c in sorted(self.calls.items()))
        return Reply("".join(self.text), calls, self.finish, self.input_tokens, self.output_tokens, self.model)


def count(value: Json) -> int:
    """A number of tokens as a provider says it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else 0
