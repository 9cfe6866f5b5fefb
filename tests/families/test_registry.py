"""The registry refuses what breaks the contract, when it is registered."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from flows.steps.base import Done, Family, Outcome, StepContext
from flows.steps.registry import MalformedFamily, Registry, UnknownFamily, family


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Lax(BaseModel):
    pass


def make(**changes: Any) -> type[Family]:
    def execute(self: Family, ctx: StepContext) -> Outcome:
        return Done()

    members = {"name": "noop", "Config": Strict, "title": "Nothing", "summary": "Does nothing.", "execute": execute}
    return type("Noop", (Family,), {k: v for k, v in {**members, **changes}.items() if v is not ...})


def test_a_complete_family_is_found_by_its_name() -> None:
    registry = Registry()
    registry.register(make())
    assert registry.family("noop").title == "Nothing"
    assert [m.name for m in registry.all_families()] == ["noop"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ...}, "name"),
        ({"name": "Two Words"}, "name"),
        ({"Config": ...}, "Config"),
        ({"Config": dict}, "Config"),
        ({"Config": Lax}, "unknown keys"),
        ({"title": " "}, "title"),
        ({"summary": ...}, "summary"),
        ({"summary": "no full stop"}, "summary"),
        ({"execute": ...}, "execute"),
    ],
)
def test_a_malformed_family_is_refused(changes: dict[str, Any], says: str) -> None:
    registry = Registry()
    with pytest.raises(MalformedFamily, match=says):
        registry.register(make(**changes))
    assert registry.all_families() == []


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    registry.register(make())
    with pytest.raises(MalformedFamily, match="taken"):
        registry.register(make())


def test_something_else_is_no_family() -> None:
    with pytest.raises(MalformedFamily, match="not a Family"):
        Registry().register(Strict)  # type: ignore[arg-type]


def test_an_unknown_family_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownFamily, match=r"'agent'.*http"):
        family("agent")
