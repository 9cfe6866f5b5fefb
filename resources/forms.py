"""What the pages of connections and secrets ask for. The rules themselves are those of the actions."""

from __future__ import annotations

from typing import Any

from django import forms

from resources import secrets
from resources.errors import OrchestraError


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


def mono(**attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "input input--mono", "spellcheck": "false", "autocomplete": "off", **attrs})


def mono_lines(rows: str) -> forms.Textarea:
    return forms.Textarea(attrs={"class": "input input--mono", "rows": rows, "spellcheck": "false"})


class SecretForm(Inline):
    """A secret's name and new value. The value never comes back into the page, not even after an error."""

    name = forms.CharField(max_length=64, widget=mono(), help_text="What flows and connections call it.")
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
