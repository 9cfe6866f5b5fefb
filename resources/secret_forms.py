"""What the pages of secrets ask for. No value ever comes back into a page, not even after an error."""

from __future__ import annotations

from typing import Any, cast

from django import forms

from resources import backends, secrets
from resources.forms import Inline, mono
from resources.secret_age import LONGEST

#: seconds, and what people call them
_OVERLAPS = (
    ("0", "is not accepted any more"), ("3600", "is accepted for an hour"), ("86400", "is accepted for a day"),
    ("604800", "is accepted for a week"), ("2592000", "is accepted for 30 days"),
)  # fmt: skip
_ELSEWHERE = (("vault", "HashiCorp Vault"), ("env", "The environment"))
_UNSEEN = {"class": "input input--mono input--unseen", "rows": "1", "autocomplete": "off", "spellcheck": "false"}


class Named(Inline):
    """`fixed`: the secret is there already, and so is its name; the value before may be accepted for a while."""

    name = forms.CharField(max_length=64, widget=mono(), help_text="What flows and connections call it.")

    def __init__(self, *args: Any, fixed: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not fixed:
            return
        del self.fields["name"]
        self.fields["overlap"] = forms.ChoiceField(
            label="The value before", choices=_OVERLAPS, initial="0", required=False,
            widget=forms.Select(attrs={"class": "input"}),
            help_text="Where signatures are checked. Requests carry the new value at once.",
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        return float(self.cleaned_data.get("overlap") or 0)


class Unseen(forms.Textarea):
    """Dots, and never filled by the server. Lines, since a password field of a browser joins those of a pasted key."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class SecretForm(Named):
    value = forms.CharField(
        label="New value",
        max_length=secrets.MAX_BYTES,
        widget=Unseen(attrs=_UNSEEN),
        help_text="Write-only. Once saved, nobody can read it here, including you. Keys are taken with their lines.",
    )

    def clean_value(self) -> str:
        """Browsers send the ends of lines as CR LF; nobody can type a CR."""
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")


class ElsewhereForm(Named):
    source = forms.ChoiceField(
        label="Kept in", choices=_ELSEWHERE,
        widget=forms.Select(attrs={"class": "input"}),
    )  # fmt: skip
    mount = forms.CharField(
        required=False, max_length=200, initial="secret", widget=mono(), help_text="Of KV version 2."
    )
    path = forms.CharField(required=False, max_length=500, widget=mono(placeholder="ci/deploy"))
    field = forms.CharField(required=False, max_length=200, initial="value", widget=mono())
    version = forms.IntegerField(
        required=False, min_value=1, widget=forms.NumberInput(attrs={"class": "input"}), help_text="Empty: the newest."
    )
    variable = forms.CharField(required=False, max_length=120, widget=mono(placeholder="ORCHESTRA_SECRET_DEPLOY"))

    def locator(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data["source"] == "env":
            return {"variable": data["variable"]}
        given = {key: data[key] for key in ("mount", "field") if data[key]}
        return {**given, "path": data["path"], "version": data["version"]}


class QuickForm(ElsewhereForm):
    """A new secret from beside a field that names one: kept here or elsewhere. Its fields' ids are its own."""

    value = forms.CharField(
        max_length=secrets.MAX_BYTES, required=False, widget=Unseen(attrs=_UNSEEN),
        help_text="Write-only. Once saved, nobody can read it here, including you.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="new-secret-%s", **kwargs)
        source = cast(forms.ChoiceField, self.fields["source"])
        source.choices = [(backends.STORED, "Orchestra, encrypted"), *_ELSEWHERE]
        source.initial = backends.STORED

    clean_value = SecretForm.clean_value


class ReminderForm(Inline):
    rotate_days = forms.IntegerField(
        label="Remind when the value is so many days old", required=False, min_value=1, max_value=LONGEST,
        widget=forms.NumberInput(attrs={"class": "input"}), help_text="Empty: never.",
    )  # fmt: skip
