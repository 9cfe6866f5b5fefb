"""What a run is about, in a few words: the plain values of its input. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.definition.sensitive import MARK, blank, texts
from resources.masking import Masker

VALUES = 3
LENGTH = 80  # characters of one value


def about(given: Any, schema: Mapping[str, Any]) -> str:
    """Such as `octo/lamp · v2.0.0`: required texts and numbers in the schema's order, else the first ones. Nothing that
    the schema marks as sensitive."""
    hidden = Masker(texts(schema, given), mark=MARK)
    given = blank(schema, given)
    if not isinstance(given, Mapping):
        return ""
    order = [name for name in schema.get("properties") or {} if name in given]
    order += [name for name in given if name not in order]
    plain = {name: given[name] for name in order if _plain(given[name])}
    required = [name for name in plain if name in schema.get("required", ())]
    return " · ".join(_short(hidden.text(str(plain[name]))) for name in (required or list(plain))[:VALUES])


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value not in ("", MARK)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LENGTH else line[: LENGTH - 1] + "…"
