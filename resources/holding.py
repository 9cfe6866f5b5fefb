"""What keeps a resource from being deleted: open runs and approvals. Higher layers register what they know."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from django.db import connection

from resources.payloads import NAMES_RESOURCE, Column

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


@dataclass(frozen=True, slots=True)
class Texts:
    """A statement that gives (who, text, what names its row …) of every text of a column that may name a resource."""

    sql: str
    params: list[str]
    column: Column


def naming(text: str) -> str:
    """SQL that is true of a text that names resources, sealed or not. Takes NAMING as parameters."""
    return f"({text} LIKE %s OR {text} LIKE %s)"


NAMING: Final = ("%res://%", f"sealed:_:%{NAMES_RESOURCE}:%")


def named_in(texts: Iterable[Texts], ids: Collection[str]) -> dict[str, str]:
    """Those of `ids` whose address occurs in a text. Raises CannotDecrypt: what cannot be read may name any."""
    wanted, found = set(ids), dict[str, str]()
    with connection.cursor() as cursor:
        for one in texts:
            cursor.execute(one.sql, one.params)
            while rows := cursor.fetchmany(200):
                for who, text, *row in rows:
                    found.update(dict.fromkeys(wanted & named(one.column.open(text, row)), who))
    return found
