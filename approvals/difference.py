"""What changed between two lists of actions, as lines. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

MAX_LINES = 2000  # of one side: comparing is quadratic at worst
CONTEXT = 2  # unchanged lines shown around a change

Action = Mapping[str, Any]


def payload_of(actions: Sequence[Action]) -> list[dict[str, Any]]:
    """The part of each action that its digest is taken of, without the words for people."""
    keys = ("step", "item", "family", "connection", "config")
    return [{k: a.get(k) for k in keys if a.get(k) is not None} for a in actions]


def difference(old: Sequence[Action], new: Sequence[Action]) -> list[tuple[str, str]]:
    """[(mark, text)], mark one of " ", "-", "+", "…" (lines left out); [] when nothing changed."""
    before, after = _lines(old), _lines(new)
    if before == after:
        return []
    return list(_marked(before, after))


def _lines(actions: Sequence[Action]) -> list[str]:
    text = json.dumps(payload_of(actions), indent=2, ensure_ascii=False, sort_keys=True)
    return text.splitlines()[:MAX_LINES]


def _marked(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    groups = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT)
    for number, group in enumerate(groups):
        if number:
            yield "…", ""
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from ((" ", line) for line in before[i1:i2])
                continue
            yield from (("-", line) for line in before[i1:i2])
            yield from (("+", line) for line in after[j1:j2])
