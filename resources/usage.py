"""Who uses a connection or a secret. Higher layers register what they know; deleting asks here first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from resources.errors import Conflict

Kind = Literal["connection", "secret"]


@dataclass(frozen=True, slots=True)
class Use:
    """`label`: such as "flow release-service"; `url` of its page, or ""; `blocks`: keeps what it uses from deletion."""

    label: str
    url: str = ""
    blocks: bool = True


#: name -> who uses it; a plain text is a use that blocks
Finder = Callable[[str], Sequence[str | Use]]
#: name -> how many use it, of all names at once
Count = Callable[[], Mapping[str, int]]

_finders: dict[str, list[Finder]] = {"connection": [], "secret": []}
_counts: dict[str, list[Count]] = {"connection": [], "secret": []}


def register(kind: Kind, finder: Finder, count: Count | None = None) -> None:
    """Ask `finder` too, and `count` for lists. Called once, from an app's ready()."""
    if finder not in _finders[kind]:
        _finders[kind].append(finder)
        _counts[kind] += [count] if count is not None else []


def uses_of(kind: Kind, name: str) -> list[Use]:
    """Everything that names it, also what does not keep it from being deleted."""
    found = [use for finder in _finders[kind] for use in finder(name)]
    return [Use(use) if isinstance(use, str) else use for use in found]


def users_of(kind: Kind, name: str) -> list[str]:
    """Who keeps it from being deleted."""
    return [use.label for use in uses_of(kind, name) if use.blocks]


def counts_of(kind: Kind) -> Counter[str]:
    """How many use each name; one query for each who registered."""
    total: Counter[str] = Counter()
    for count in _counts[kind]:
        total.update(count())
    return total


def refuse_while_used(kind: Kind, name: str) -> None:
    """Raises Conflict `in_use`, naming the users in `details`."""
    users = users_of(kind, name)
    if users:
        shown = ", ".join(users[:5]) + (" and others" if len(users) > 5 else "")
        hint = f"Change {'it' if len(users) == 1 else 'them'} first."
        raise Conflict(f"{name} is used by {shown}.", hint=hint, code="in_use", details=users)
