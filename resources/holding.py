"""What keeps a resource from being deleted: open runs and approvals. Higher layers register what they know."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from django.db import connection

#: ids of resources -> those that are held, each with who holds it, such as "the run …"
Finder = Callable[[Collection[str]], dict[str, str]]
PREFIX: Final = "res://"
_ADDRESS: Final = re.compile(r"res://([0-9a-z]{26})")
_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Ask `finder` too. Called once, from an app's ready()."""
    if finder not in _finders:
        _finders.append(finder)


def held(ids: Collection[str]) -> dict[str, str]:
    """Those of `ids` that something open needs, and what that is."""
    found: dict[str, str] = {}
    for finder in _finders:
        left = [one for one in ids if one not in found]
        if left:
            found |= finder(left)
    return found


def named(text: str) -> set[str]:
    """The ids of the resources whose addresses occur in `text`. Pure."""
    return set(_ADDRESS.findall(text))


def named_in(statements: Iterable[tuple[str, list[str]]], ids: Collection[str]) -> dict[str, str]:
    """Those of `ids` whose address occurs in a text: each statement gives (who, text) for every text to look at."""
    wanted, found = set(ids), dict[str, str]()
    with connection.cursor() as cursor:
        for sql, params in statements:
            cursor.execute(sql, params)
            while rows := cursor.fetchmany(200):
                for who, text in rows:
                    found.update(dict.fromkeys(wanted.intersection(_ADDRESS.findall(text or "")), who))
    return found
