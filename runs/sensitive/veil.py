"""Masks what readers of a run get to see. Pure.

Twice: where a schema marks a value it is MARK, whatever it is; and every marked text or number of 4 characters and more
is looked for in all else that the run shows, in the forms in which secrets are looked for (`resources.masking`).
The engine, expressions, and what steps send keep the true values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from flows.definition.sensitive import MARK, blank
from resources.masking import Masker
from runs.engine.state import NO_ITEM
from runs.sensitive.shapes import Shapes

Json = Any
#: values that are looked for at most; above it nothing that could hold one is shown
MOST: Final = 1_000
#: characters of a value that is looked for whole; a text with the beginning of a longer one is hidden as a whole
LONG: Final = 256
HEAD: Final = 64
#: what an entry of the history calls the output of its step
_OUTPUTS: Final = ("output", "payload")


class Veil:
    """Of one run. `values`: what is marked in it and in the runs it belongs with; None: too much to look for."""

    def __init__(self, shapes: Shapes, values: Iterable[str] | None) -> None:
        self.shapes = shapes
        self._known = None if values is None else _bounded(values)
        self._masker, self._heads = _maskers(self._known or frozenset())

    @property
    def empty(self) -> bool:
        """It changes nothing."""
        return self._known is not None and not self._known and not self.shapes.marked

    def plus(self, values: Iterable[str]) -> Veil:
        """The same, that looks for these, too."""
        more = frozenset(values)
        if self._known is None or more <= self._known:
            return self
        return Veil(self.shapes, self._known | more)

    # -- by value ----------------------------------------------------------------------------------------------
    def text(self, text: str) -> str:
        if self._known is None:
            return MARK if text else text
        if len(text) >= HEAD and self._heads.text(text) != text:
            return MARK
        return self._masker.text(text)

    def tree(self, value: Json) -> Json:
        """Texts, keys, and numbers that are one of the values."""
        return value if self.empty else self._tree(value, self._known)

    def words(self, value: Json) -> Json:
        """Texts only: keys and numbers stay, for code that reads them."""
        if self.empty or self._known is None:
            return value if self.empty else _only_words(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.words(item) for key, item in value.items()}
        return [self.words(item) for item in value] if isinstance(value, list | tuple) else value

    def _tree(self, value: Json, known: frozenset[str] | None) -> Json:
        if known is None:
            return MARK if value not in (None, True, False, "") else value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._tree(item, known) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._tree(item, known) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return MARK if is_number and len(str(value)) > 3 and str(value) in known else value

    # -- by schema, and by value -------------------------------------------------------------------------------
    def input(self, value: Json) -> Json:
        return self.tree(blank(self.shapes.input, value))

    def trigger(self, value: Json) -> Json:
        return self.tree(self._trigger(value) if isinstance(value, Mapping) else value)

    def output(self, step: str, value: Json, item: int = NO_ITEM) -> Json:
        return self.tree(self._blanked(step, value, item))

    def _blanked(self, step: str, value: Json, item: int) -> Json:
        schema = self.shapes.outputs.get(step)
        if schema is None or value is None or (isinstance(value, Mapping) and "$res" in value):
            return value
        if item == NO_ITEM and step in self.shapes.lists and isinstance(value, list):
            return [blank(schema, one) for one in value]
        return blank(schema, value)

    def action(self, step: str, value: Json) -> Json:
        """What a step is about to do, with its `config` resolved."""
        schema = self.shapes.configs.get(step)
        if schema is not None and isinstance(value, Mapping) and "config" in value:
            value = {**value, "config": blank(schema, value["config"])}
        return self.tree(value)

    def actions(self, value: Json) -> Json:
        return [self.action(str(one.get("step", "")), one) for one in value]

    def withholds(self, step: str) -> bool:
        """What the step says while it runs is not shown: it may be its output, which is not known as such yet."""
        return step in self.shapes.outputs

    def error(self, step: str, value: Json) -> Json:
        return self.tree(self._error(step, value))

    def live(self, step: str, value: Mapping[str, Json] | None) -> dict[str, Json] | None:
        """What a running attempt says (runs.times.live_of)."""
        if value is None or not self.withholds(step):
            return None if value is None else self._said(value)
        shown = {**value, "tail": MARK if value.get("tail") else "", "log": [MARK] if value.get("log") else []}
        if value.get("progress"):
            shown["progress"] = {**value["progress"], "message": MARK}
        return shown

    def _said(self, value: Mapping[str, Json]) -> dict[str, Json]:
        found = dict(value)
        found |= {"tail": self.text(value.get("tail") or ""), "log": [self.text(x) for x in value.get("log") or ()]}
        if value.get("progress"):
            found["progress"] = {**value["progress"], "message": self.text(value["progress"]["message"])}
        return found

    def event(self, step: str, item: int, data: Json) -> Json:
        """The data of an entry of the history."""
        return data if self.empty else self.tree(self._entry(step, item, data))

    def told(self, step: str, item: int, data: Json) -> Json:
        """The same for code that reads it: numbers and keys stay."""
        return data if self.empty else self.words(self._entry(step, item, data))

    def _entry(self, step: str, item: int, data: Json) -> Json:
        if not isinstance(data, Mapping):
            return data
        found = {name: self._blanked(step, value, item) if name in _OUTPUTS else value for name, value in data.items()}
        if isinstance(found.get("trigger"), Mapping):
            found["trigger"] = self._trigger(found["trigger"])
        if isinstance(found.get("kept"), list):
            found["kept"] = [self._kept(one) for one in found["kept"]]
        found["error"] = self._error(step, found.get("error"))
        if self.withholds(step):
            found |= {name: [MARK] for name in ("lines", "checkpoint") if found.get(name)}
        return {name: value for name, value in found.items() if name in data}

    def _error(self, step: str, value: Json) -> Json:
        """Details may quote an output that was refused; what a contract says of it is written without values."""
        if not isinstance(value, Mapping) or "details" not in value or not self.withholds(step):
            return value
        told = isinstance(value["details"], Mapping) and "contract" in value["details"]
        return value if told else {**value, "details": MARK}

    def _trigger(self, value: Mapping[str, Json]) -> Json:
        return {**value, "vars": blank(self.shapes.vars, value["vars"])} if "vars" in value else value

    def _kept(self, one: Json) -> Json:
        if not isinstance(one, Mapping) or "output" not in one:
            return one
        return {**one, "output": self._blanked(str(one.get("step", "")), one["output"], one.get("item", NO_ITEM))}


def _bounded(values: Iterable[str]) -> frozenset[str] | None:
    """None: too much to look for."""
    found = set[str]()
    for value in values:
        found.add(value)
        if len(found) > MOST:
            return None
    return frozenset(found)


@lru_cache(maxsize=32)
def _maskers(values: frozenset[str]) -> tuple[Masker, Masker]:
    """Of the values, and of the beginnings of long ones. The automaton of many is worth keeping for the next look."""
    short = (value for value in values if len(value) <= LONG)
    heads = (value.strip()[:HEAD] for value in values if len(value) > LONG)
    return Masker(short, mark=MARK), Masker(heads, mark=MARK)


def _only_words(value: Json) -> Json:
    if isinstance(value, str):
        return MARK if value else value
    if isinstance(value, Mapping):
        return {key: _only_words(item) for key, item in value.items()}
    return [_only_words(item) for item in value] if isinstance(value, list | tuple) else value


#: of a run that has nothing sensitive
NOTHING: Final = Veil(Shapes(), ())
