"""What the pages of connections and secrets ask for. The rules themselves are those of the actions."""

from __future__ import annotations

from django import forms

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
