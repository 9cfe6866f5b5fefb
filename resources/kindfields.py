"""A kind's settings as the fields of a form: which there are, under what names, and when each matters. Pure.

A field's name is its path in the settings, joined by "-": `auth-secret`. Shapes to choose from (a union with a
discriminator) share one field where they share a key; `only` says for which of them it matters.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resources.connection_settings import SecretName

#: what has a page of its own
_ELSEWHERE = frozenset({"limits"})


@dataclass(frozen=True, slots=True)
class Spot:
    """One field. `shape`: text, area, whole, number, check, choice, secret, lines, pairs or json.

    `when`: the field that chooses, and `only` the choices with which this one matters; "" and (): always.
    """

    name: str
    shape: str
    label: str
    help: str
    needed: bool
    choices: tuple[tuple[str, str], ...] = ()
    example: str = ""  # shown where the field is empty
    when: str = ""
    only: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # `only` as people read it
    group: str = ""  # the heading it stands under


def spots(model: type[BaseModel]) -> list[Spot]:
    """The fields of a kind's settings, in the order of the model."""
    found: dict[str, Spot] = {}
    for spot in _of_model(model, "", ""):
        known = found.get(spot.name)
        found[spot.name] = (
            spot if known is None else replace(known, only=known.only + spot.only, words=known.words + spot.words)
        )
    return list(found.values())


def _of_model(model: type[BaseModel], prefix: str, group: str) -> Iterator[Spot]:
    for name, info in model.model_fields.items():
        if not (name in _ELSEWHERE and not prefix):
            yield from _of_field(prefix + name, info, group)


def _of_field(name: str, info: FieldInfo, group: str) -> Iterator[Spot]:
    kind, marks, optional = unwrapped(info.annotation, info.metadata)
    label = info.title or _own_title(marks) or name.rpartition("-")[2].replace("_", " ").capitalize()
    variants = shapes_of(kind)
    if variants:
        yield from _chosen(name, info, label, variants)
    elif is_model(kind):
        for spot in _of_model(kind, f"{name}-", label):
            yield replace(spot, needed=spot.needed and not optional)
    else:
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, Mapping) else {}
        yield Spot(
            name,
            _shape(kind, marks, extra),
            label,
            info.description or "",
            info.is_required() and not optional,
            _choices(kind, extra, info.is_required() and not optional),
            _hint(info),
            group=group,
        )


def _hint(info: FieldInfo) -> str:
    """What stands in an empty field: the value it has then, or an example."""
    if isinstance(info.default, int | float | str) and not isinstance(info.default, bool) and info.default != "":
        return str(info.default)
    return str(info.examples[0]) if info.examples else ""


def _chosen(name: str, info: FieldInfo, label: str, variants: Mapping[str, type[BaseModel]]) -> Iterator[Spot]:
    choices = tuple((tag, str(model.model_config.get("title") or tag)) for tag, model in variants.items())
    chooser, words = f"{name}-type", dict(choices)
    yield Spot(chooser, "choice", label, info.description or "", True, choices, group=label)
    for tag, model in variants.items():
        for spot in _of_model(model, f"{name}-", label):
            if spot.name != chooser:
                yield spot if spot.when else replace(spot, when=chooser, only=(tag,), words=(words[tag],))


def shapes_of(kind: Any) -> dict[str, type[BaseModel]]:
    """The models of a union by the value of their `type`; none for anything else."""
    if get_origin(kind) not in (Union, types.UnionType):
        return {}
    members = [unwrapped(member, ())[0] for member in get_args(kind)]
    if not all(is_model(member) and "type" in member.model_fields for member in members):
        return {}
    return {get_args(member.model_fields["type"].annotation)[0]: member for member in members}


def unwrapped(annotation: Any, metadata: Any) -> tuple[Any, list[Any], bool]:
    """(the type itself, its marks, may it be None)."""
    marks, optional = list(metadata), False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            marks += more
        elif get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation):
            rest = tuple(part for part in get_args(annotation) if part is not type(None))
            annotation, optional = Union[rest], True  # noqa: UP007  # of a tuple made just now
        else:
            return annotation, marks, optional


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _own_title(marks: list[Any]) -> str:
    return next((mark.title for mark in marks if isinstance(mark, FieldInfo) and mark.title), "")


def _shape(kind: Any, marks: list[Any], extra: Mapping[str, Any]) -> str:
    origin = get_origin(kind)
    if kind is bool:
        return "check"
    if kind in (int, float):
        return "whole" if kind is int else "number"
    if SecretName.marked(marks):
        return "secret"
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return "choice"
    if kind is str:
        return "area" if extra.get("widget") == "lines" else "text"
    if origin in (list, tuple) and not is_model(unwrapped(get_args(kind)[0], ())[0]):
        return "lines"
    if origin is dict and all(unwrapped(part, ())[0] is str for part in get_args(kind)):
        return "pairs"
    return "json"


def _choices(kind: Any, extra: Mapping[str, Any], needed: bool) -> tuple[tuple[str, str], ...]:
    if get_origin(kind) is Literal:
        values = [str(value) for value in get_args(kind)]
    elif isinstance(kind, type) and issubclass(kind, Enum):
        values = [str(member.value) for member in kind]
    else:
        return ()
    labels = extra.get("labels")
    words = labels if isinstance(labels, Mapping) else {}
    return tuple((value, str(words.get(value, value))) for value in values)


def nested(model: type[BaseModel], data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The form's values as the settings' own shape. What was left empty is left out, so that its default holds."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        place = prefix + name
        kind, _, optional = unwrapped(info.annotation, info.metadata)
        variants = shapes_of(kind)
        if variants:
            tag = str(data.get(f"{place}-type", ""))
            inner = nested(variants[tag], data, f"{place}-") if tag in variants else {}
            found[name] = {**inner, "type": tag}
        elif is_model(kind):
            inner = nested(kind, data, f"{place}-") if name not in _ELSEWHERE or prefix else {}
            if any(value not in ("", False, [], {}) for value in inner.values()) or not (optional or not inner):
                found[name] = inner
        elif data.get(place) not in (None, ""):
            found[name] = data[place]
    return found


def flat(stored: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as JSON by the names of the form's fields; an object that is a field itself stands there, too."""
    found: dict[str, Any] = {}
    for key, value in stored.items():
        found[prefix + key] = value
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}-")
    return found
