"""A decision table: the first rule that holds wins, and there is always a default. Pure.

Written as `{rules: [{if, to, value, name}], default: {to, value, name}}`; every part of a branch but `if` is optional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Json = Any

FAMILY: Final = "route"


def branches(config: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The default first, then the rules: a branch's place in here is its number.

    Lint reads tables that are not one yet: what is no branch counts as an empty one.
    """
    rules = config.get("rules")
    found = [config.get("default"), *(rules if isinstance(rules, list | tuple) else ())]
    return [branch if isinstance(branch, Mapping) else {} for branch in found]


def name_of(config: Mapping[str, Json], number: int) -> str:
    """What people call a branch: its own name, else `rule 2`, or `default` for number 0."""
    own = branches(config)[number].get("name")
    return str(own) if own else f"rule {number}" if number else "default"


def targets(config: Mapping[str, Json]) -> tuple[str, ...]:
    """Every step that some branch names, once, in order."""
    return tuple(dict.fromkeys(step for branch in branches(config) for step in _to(branch)))


def leads_to(config: Mapping[str, Json], number: int) -> tuple[str, ...]:
    """The steps a branch names."""
    return tuple(_to(branches(config)[number]))


def _to(branch: Mapping[str, Json]) -> Sequence[str]:
    found = branch.get("to") or ()
    return [step for step in found if isinstance(step, str)] if isinstance(found, list | tuple) else ()


def choose(config: Mapping[str, Json], holds: Callable[[Json], bool]) -> int:
    """The number of the first rule whose `if` holds, in the order of the table; 0, the default, where none does."""
    for number, rule in enumerate(branches(config)[1:], 1):
        if holds(rule.get("if", False)):
            return number
    return 0
