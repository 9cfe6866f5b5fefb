"""Turns what a model says of a value into problems with a place and a mend."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from flows.definition import reserved
from flows.definition.yaml_source import Path, Source

Json = Any
M = TypeVar("M", bound=BaseModel)


class Reporter(Protocol):
    source: Source

    def report(self, rule: str, path: Path, message: str, hint: str, *, key: bool = False) -> None: ...


class Shape:
    """Checks values against models and reports to a document."""

    def __init__(self, document: Reporter) -> None:
        self.document = document

    def check(self, model: type[M], value: Json, path: Path, place: str, *, also: Sequence[str]) -> M | None:
        """The model of `value`, or None with the problems reported. `also`: keys handled elsewhere."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=True)
        by_path: dict[Path, list[Any]] = {}
        for detail in details:
            by_path.setdefault(self._path(path, detail["loc"]), []).append(detail)
        for where, found in by_path.items():
            self._report(model, found, path, where, place, also)
        return None

    def _path(self, path: Path, loc: Sequence[str | int]) -> Path:
        """Where the value stands in the text; union tags and such in `loc` name nothing there."""
        for part in loc:
            if (*path, part) in self.document.source.values:
                path = (*path, part)
        return path

    def _report(
        self, model: type[BaseModel], found: list[Any], base: Path, where: Path, place: str, also: Sequence[str]
    ) -> None:
        first = found[0]
        last = str(first["loc"][-1]) if first["loc"] else ""
        field = _field(model, first["loc"])
        if first["type"] == "extra_forbidden":
            names = [*_names(_model_at(model, first["loc"][:-1])), *also]
            self.unknown_key(where, last, place if len(where) == len(base) + 1 else str(where[-2]), names)
        elif first["type"] == "missing":
            hint = f"Add `{last}:`{_what(field)}."
            self.document.report("missing-key", where, f"The key `{last}` is missing.", hint)
        elif self._reserved_value(where, first):
            said = f"`{first['input']}` is part of the language but not available in this version yet."
            self.document.report("not-available", where, said, f"Use another value{_what(field)}.")
        else:
            self._bad_value(found, where, field)

    def _reserved_value(self, where: Path, detail: Any) -> bool:
        names = [str(p) for p in where[-2:]]
        value = detail["input"]
        return isinstance(value, str) and any(value in reserved.VALUES.get(name, ()) for name in names)

    def _bad_value(self, found: list[Any], where: Path, field: FieldInfo | None) -> None:
        messages = list(dict.fromkeys(_plain(d["msg"]) for d in found))
        names = [p for p in where if isinstance(p, str)]
        name = f"`{names[-1]}`: " if names else ""
        rule = "bad-id" if any(d["type"] == "string_pattern_mismatch" for d in found) and _is_id(where) else "bad-value"
        hint = _hint(rule, field)
        self.document.report(rule, where, f"{name}{'; or '.join(messages)}.", hint)

    def unknown_key(self, where: Path, key: str, place: str, names: Sequence[str]) -> None:
        """Report a key that is not known here, or not yet."""
        if reserved.is_reserved(place, key):
            said = f"`{key}` is part of the language but not available in this version yet."
            self.document.report("not-available", where, said, f"Remove `{key}`.", key=True)
            return
        close = difflib.get_close_matches(key, names, 1, 0.6)
        hint = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(sorted(names))}."
        self.document.report("unknown-key", where, f"There is no key `{key[:60]}` here.", hint, key=True)


def _is_id(where: Path) -> bool:
    return bool(where) and (where[-1] in ("id", "flow", "name") or where[-2:-1] in (("needs",), ("protects",)))


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should be", "must be").rstrip(".")
    return message.replace("String should", "must").replace("List should", "must").replace("dictionary", "mapping")


def _hint(rule: str, field: FieldInfo | None) -> str:
    if rule == "bad-id":
        return "Use small letters, digits, - and _ (a flow: no _), beginning with a letter, 63 at most."
    if field is not None and field.description:
        return f"This key is {field.description}."
    return "See the language reference for what this key takes."


def _what(field: FieldInfo | None) -> str:
    return f" ({field.description})" if field is not None and field.description else ""


def _names(model: type[BaseModel] | None) -> list[str]:
    return [f.alias or name for name, f in model.model_fields.items()] if model else []


def _field(model: type[BaseModel], loc: Sequence[str | int]) -> FieldInfo | None:
    """The field that the last known name of `loc` stands for."""
    found: FieldInfo | None = None
    current: type[BaseModel] | None = model
    for part in loc:
        named = {f.alias or name: f for name, f in current.model_fields.items()} if current else {}
        if isinstance(part, str) and part in named:
            found = named[part]
            current = next(_models_in(found.annotation), None)
    return found


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    field = _field(model, loc)
    return model if field is None else next(_models_in(field.annotation), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
