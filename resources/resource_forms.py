"""What the pages of resources ask for. The rules themselves are those of the actions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone

from resources.forms import Inline, mono, mono_lines
from resources.models import Artifact


class UploadForm(Inline):
    file = forms.FileField(label="File", max_length=200, widget=forms.FileInput(attrs={"class": "input"}))
    folder = forms.CharField(
        required=False, max_length=200, widget=mono(), help_text="Whose viewers may read it. Empty: every folder's."
    )


class KeepForm(Inline):
    keep = forms.ChoiceField(choices=Artifact.Keep.choices, widget=forms.Select(attrs={"class": "input"}))
    keep_until = forms.DateTimeField(
        label="Keep until",
        required=False,
        widget=forms.DateTimeInput(attrs={"class": "input", "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In the time zone of the server.",
    )
    pinned = forms.BooleanField(required=False, label="Pinned", help_text="Kept whatever the rest says.")
    labels = forms.CharField(required=False, widget=mono_lines("3"), help_text="One name=text a line.")

    def __init__(self, *args: Any, row: Artifact, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not row.run_id:
            self.fields["keep"].choices = [c for c in Artifact.Keep.choices if c[0] != "run"]  # type: ignore[attr-defined]

    @classmethod
    def of(cls, row: Artifact) -> KeepForm:
        until = None if row.keep_until is None else datetime.fromtimestamp(row.keep_until, UTC)
        labels = "\n".join(f"{name}={text}" for name, text in row.labels.items())
        initial = {"keep": row.keep, "keep_until": until, "pinned": row.pinned, "labels": labels}
        return cls(row=row, initial=initial)

    def clean_labels(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in filter(None, map(str.strip, self.cleaned_data["labels"].splitlines())):
            name, equals, text = line.partition("=")
            if not equals:
                raise forms.ValidationError("Write each label as name=text.")
            found[name.strip()] = text.strip()
        return found

    def changes(self) -> dict[str, Any]:
        """What keeping.update_resource takes."""
        data = self.cleaned_data
        until = data["keep_until"] if data["keep"] == Artifact.Keep.UNTIL else None
        moment = None if until is None else timezone.localtime(until).timestamp()
        return {"keep": data["keep"], "keep_until": moment, "pinned": data["pinned"], "labels": data["labels"]}
