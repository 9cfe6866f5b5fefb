"""What the pages of connections and secrets ask for. The rules themselves are those of the actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from resources import secrets
from resources.connection_settings import HttpSettings
from resources.errors import OrchestraError

_AUTH = (
    ("none", "Nothing"),
    ("bearer", "Bearer token"),
    ("basic", "User name and password"),
    ("api_key", "Key in a header of its own"),
)
#: first part of an error's path -> field that shows it
_FIELD_OF = {"allow_networks": "allow_networks", "headers": "headers", "base_url": "base_url"}


class Inline(forms.Form):
    """Shows the errors of an action at the fields they are about."""

    def show(self, error: OrchestraError) -> None:
        details = error.details if isinstance(error.details, list) else []
        placed = [d for d in details if isinstance(d, dict) and "path" in d]
        for detail in placed:
            self.add_error(self.field_of(detail["path"]), detail.get("message", error.message))
        if not placed:
            self.add_error(None, f"{error.message} {error.hint}".strip())

    def field_of(self, path: str) -> str | None:
        return path if path in self.fields else None

    def mark(self) -> None:
        """Tie every field to its hint and its error for those who do not see them."""
        for bound in self:
            attrs = bound.field.widget.attrs
            hint = [f"{bound.id_for_label}-hint"] if bound.field.help_text else []
            if bound.errors:
                attrs["aria-invalid"] = "true"
                hint.append(f"{bound.id_for_label}-error")
            if hint:
                attrs["aria-describedby"] = " ".join(hint)


def _input(**attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "input input--mono", "spellcheck": "false", "autocomplete": "off", **attrs})


def _lines(rows: str) -> forms.Textarea:
    return forms.Textarea(attrs={"class": "input input--mono", "rows": rows, "spellcheck": "false"})


class ConnectionForm(Inline):
    """An http connection. `fixed`: the name cannot change, since flows name it."""

    name = forms.CharField(
        max_length=63,
        widget=_input(),
        help_text="What flows call it. Lower-case letters, digits and -. Stays for ever.",
    )
    base_url = forms.CharField(
        label="Address", max_length=500, widget=_input(inputmode="url", placeholder="https://api.example.com/v1")
    )
    auth = forms.ChoiceField(
        label="Sends", choices=_AUTH, initial="none", widget=forms.Select(attrs={"class": "input"})
    )
    secret = forms.ChoiceField(required=False, widget=forms.Select(attrs={"class": "input"}))
    username = forms.CharField(
        label="User name", required=False, max_length=200, widget=_input(), help_text="Only with a password."
    )
    header = forms.CharField(
        required=False, max_length=100, widget=_input(placeholder="X-Api-Key"), help_text="Only with a key in a header."
    )
    headers = forms.CharField(
        label="Other headers",
        required=False,
        max_length=20_000,
        widget=_lines("2"),
        help_text="One a line, as Name: value.",
    )
    allow_networks = forms.CharField(
        label="Networks allowed though not public",
        required=False,
        max_length=4_000,
        widget=_lines("2"),
        help_text="One a line, such as 10.1.0.0/16. Empty: only public addresses are reached.",
    )
    honours_idempotency_key = forms.BooleanField(
        label="It applies a repeated Idempotency-Key once",
        required=False,
        help_text="Then an attempt whose outcome is unknown may be repeated.",
    )

    def __init__(self, *args: Any, fixed: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if fixed:
            del self.fields["name"]
        names = [(s.name, s.name) for s in secrets.list_secrets()]
        self.fields["secret"] = forms.ChoiceField(
            required=False, choices=[("", "None"), *names], widget=forms.Select(attrs={"class": "input"})
        )

    def field_of(self, path: str) -> str | None:
        first, _, rest = path.partition(".")
        if first == "auth":
            return rest if rest in self.fields else "auth"
        return _FIELD_OF.get(first) or super().field_of(path)

    def clean_headers(self) -> dict[str, str]:
        pairs = [line.partition(":") for line in _filled(self.cleaned_data["headers"])]
        if any(not colon for _, colon, _ in pairs):
            raise forms.ValidationError("Write one header a line, as Name: value.")
        return {name.strip(): value.strip() for name, _, value in pairs}

    def clean_allow_networks(self) -> list[str]:
        return list(_filled(self.cleaned_data["allow_networks"]))

    def settings(self, before: HttpSettings | None = None) -> dict[str, Any]:
        """The settings as the action takes them. `before`: keeps its limits, which have a form of their own."""
        data = self.cleaned_data
        auth = {"type": data["auth"], "secret": data["secret"], "username": data["username"]}
        if data["header"]:
            auth["header"] = data["header"]
        keys = ("base_url", "allow_networks", "honours_idempotency_key", "headers")
        limits = before.limits.model_dump(mode="json") if before is not None and before.limits is not None else None
        return {"auth": auth, "limits": limits, **{key: data[key] for key in keys}}

    @staticmethod
    def initial_of(settings: HttpSettings) -> dict[str, Any]:
        """The form's fields of a connection's settings."""
        return {
            "base_url": settings.base_url,
            "auth": settings.auth.type,
            "secret": settings.auth.secret,
            "username": settings.auth.username,
            "header": settings.auth.header,
            "headers": "\n".join(f"{name}: {value}" for name, value in settings.headers.items()),
            "allow_networks": "\n".join(settings.allow_networks),
            "honours_idempotency_key": settings.honours_idempotency_key,
        }


def _filled(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


class SecretForm(Inline):
    """A secret's name and new value. The value never comes back into the page, not even after an error."""

    name = forms.CharField(max_length=64, widget=_input(), help_text="What flows and connections call it.")
    value = forms.CharField(
        label="New value",
        max_length=secrets.MAX_BYTES,
        widget=forms.PasswordInput(attrs={"class": "input input--mono", "autocomplete": "new-password"}),
        help_text="Write-only. Once saved, nobody can read it here, including you.",
    )

    def __init__(self, *args: Any, fixed: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if fixed:
            del self.fields["name"]
