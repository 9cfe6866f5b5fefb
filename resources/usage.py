"""Who uses a connection or a secret. Higher layers register what they know; deleting asks here first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from resources.errors import Conflict

Kind = Literal["connection", "secret"]
#: name -> sentences' subjects, such as "connection ci" or "flow release-service"
Finder = Callable[[str], list[str]]

_finders: dict[str, list[Finder]] = {"connection": [], "secret": []}


def register(kind: Kind, finder: Finder) -> None:
    """Ask `finder` too. Called once, from an app's ready()."""
    if finder not in _finders[kind]:
        _finders[kind].append(finder)


def users_of(kind: Kind, name: str) -> list[str]:
    return [user for finder in _finders[kind] for user in finder(name)]


def refuse_while_used(kind: Kind, name: str) -> None:
    """Raises Conflict `in_use`, naming the users in `details`."""
    users = users_of(kind, name)
    if users:
        shown = ", ".join(users[:5]) + (" and others" if len(users) > 5 else "")
        raise Conflict(f"{name} is used by {shown}.", hint="Change them first.", code="in_use", details=users)
