"""The form of a connection, made from its kind's settings. The rules are the model's; the form shows what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.forms.boundfield import BoundField

from resources import secrets
from resources.connection_settings import ConnectionSettings
from resources.connections import stored_json
from resources.forms import Inline, mono, mono_lines
from resources.kindfields import Spot, flat, nested, spots
from resources.kinds import KINDS

MAX_TEXT: Final = 20_000
_SECRET: Final = {"class": "input", "data-secret": ""}  # beside it, a secret can be added


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        return list(_filled(str(super().clean(value))))


class PairsField(forms.CharField):
    """Texts by name, one a line as Name: value."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name}: {text}" for name, text in value.items()) if isinstance(value, dict) else value

    def clean(self, value: Any) -> Any:
        pairs = [line.partition(":") for line in _filled(str(super().clean(value)))]
        if any(not colon for _, colon, _ in pairs):
            raise forms.ValidationError("Write one a line, as Name: value.")
        return {name.strip(): text.strip() for name, _, text in pairs}


class JsonField(forms.CharField):
    """Anything that has no field of its own: JSON."""

    def prepare_value(self, value: Any) -> Any:
        if value in (None, {}, []):
            return ""
        return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        text = str(super().clean(value)).strip()
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}.") from error


def _filled(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


@dataclass(frozen=True, slots=True)
class Row:
    """A field, and the choice it depends on: the choosing field, the choices, and their words."""

    field: BoundField
    when: str = ""
    only: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(slots=True)
class Group:
    """Fields under one heading; "" has none."""

    title: str
    rows: list[Row] = field(default_factory=list)


class KindForm(Inline):
    """A connection of one kind. `fixed`: the name cannot change, since flows name it."""

    name = forms.CharField(
        max_length=63,
        widget=mono(),
        help_text="What flows call it. Lower-case letters, digits and -. Stays for ever.",
    )

    def __init__(self, kind: str, *args: Any, fixed: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model: type[ConnectionSettings] = KINDS[kind].Settings
        self.spots = spots(self.model)
        if fixed:
            del self.fields["name"]
        names = [s.name for s in secrets.list_secrets()]
        for spot in self.spots:
            self.fields[spot.name] = _field(spot, names)

    @property
    def groups(self) -> list[Group]:
        found = [Group("", [Row(self["name"])] if "name" in self.fields else [])]
        for spot in self.spots:
            if spot.group != found[-1].title:
                found.append(Group(spot.group))
            found[-1].rows.append(Row(self[spot.name], spot.when, spot.only, spot.words))
        return [group for group in found if group.rows]

    def field_of(self, path: str) -> str | None:
        """`auth.secret` is the field auth-secret; what is below a field (a line of it) is shown at the field."""
        parts = path.split(".")
        while parts:
            for name in ("-".join(parts), "-".join([*parts, "type"])):
                if name in self.fields:
                    return name
            parts.pop()
        return None

    def settings(self, before: ConnectionSettings | None = None) -> dict[str, Any]:
        """The settings as the action takes them. `before`: keeps its limits, which have a form of their own."""
        limits = before.limits.model_dump(mode="json") if before is not None and before.limits is not None else None
        return {**nested(self.model, self.cleaned_data), "limits": limits}

    @staticmethod
    def initial_of(settings: ConnectionSettings) -> dict[str, Any]:
        """The form's fields of a connection's settings."""
        return flat(stored_json(settings))


def _field(spot: Spot, secret_names: list[str]) -> forms.Field:
    common: dict[str, Any] = {
        "label": spot.label,
        "help_text": spot.help,
        "required": spot.needed and not spot.when and spot.shape != "check",
    }
    made = _made(spot, secret_names, common)
    made.needed = spot.needed  # type: ignore[attr-defined]  # says so without asking for what does not matter now
    return made


def _made(spot: Spot, secret_names: list[str], common: dict[str, Any]) -> forms.Field:
    select = forms.Select(attrs={"class": "input"})
    step = "any" if spot.shape == "number" else "1"
    number = forms.NumberInput(attrs={"class": "input input--num", "step": step, "placeholder": spot.example})
    match spot.shape:
        case "check":
            return forms.BooleanField(**common)
        case "whole":
            return forms.IntegerField(widget=number, **common)
        case "number":
            return forms.FloatField(widget=number, **common)
        case "choice":
            return forms.ChoiceField(choices=spot.choices, widget=select, **common)
        case "secret":
            names = [("", "None"), *((n, n) for n in secret_names)]
            return forms.ChoiceField(choices=names, widget=forms.Select(attrs=_SECRET), **common)
        case "area":
            return forms.CharField(max_length=MAX_TEXT, widget=mono_lines("6"), strip=False, **common)
        case "lines":
            return LinesField(max_length=MAX_TEXT, widget=mono_lines("2"), **common)
        case "pairs":
            return PairsField(max_length=MAX_TEXT, widget=mono_lines("2"), **common)
        case "json":
            return JsonField(max_length=MAX_TEXT, widget=mono_lines("4"), **common)
    return forms.CharField(max_length=2000, widget=mono(placeholder=spot.example), **common)
