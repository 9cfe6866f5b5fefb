"""What the pages of subscriptions ask for. The rules themselves are those of the actions."""

from __future__ import annotations

from typing import Any

from django import forms

from resources import connections
from resources.forms import Inline
from runs.models import Subscription
from runs.outbound.destinations import Wanted

_LINES = {"class": "input input--mono", "rows": "3", "spellcheck": "false"}
_MONO = {"class": "input input--mono", "spellcheck": "false", "autocomplete": "off"}
_PASSWORD = {"class": "input input--mono", "autocomplete": "new-password"}


def _lines(label: str, help_text: str, *, required: bool = False) -> forms.CharField:
    widget = forms.Textarea(attrs=_LINES)
    return forms.CharField(label=label, required=required, max_length=5_000, widget=widget, help_text=help_text)


class SubscriptionForm(Inline):
    """`fixed`: the name stays, and the secret is changed elsewhere."""

    name = forms.CharField(
        max_length=63,
        widget=forms.TextInput(attrs=_MONO),
        help_text="Lower-case letters, digits and -. Stays for ever.",
    )
    url = forms.CharField(
        label="Address",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={**_MONO, "inputmode": "url", "placeholder": "https://example.com/events"}),
        help_text="Only public addresses are reached. For others, or to send credentials too, choose a connection.",
    )
    connection = forms.ChoiceField(
        required=False, widget=forms.Select(attrs={"class": "input"}), help_text="Instead of an address."
    )
    path = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={**_MONO, "placeholder": "/events"}),
        help_text="Below the connection's address.",
    )
    types = _lines("Events", "One a line: run.failed, approval.* or *. All types are listed below.", required=True)
    folders = _lines("Folders", "One a line, each with all below it. Empty: every folder you may view.")
    flows = _lines("Flows", "One slug a line. Empty: every flow.")
    include_output = forms.BooleanField(
        label="Send outputs", required=False, help_text="Of runs and steps that succeeded, up to 16 KiB each."
    )
    secret = forms.CharField(
        label="Signing secret",
        required=False,
        max_length=200,
        widget=forms.PasswordInput(attrs=_PASSWORD),
        help_text="whsec_ and base64. Leave it empty for a fresh one, which is shown once.",
    )

    def __init__(self, *args: Any, fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if fixed:
            del self.fields["name"], self.fields["secret"]
        known = [(c.name, c.name) for c in connections.list_connections() if c.kind == "http"]
        choice = self.fields["connection"]
        assert isinstance(choice, forms.ChoiceField)  # noqa: S101  for the type checker
        choice.choices = [("", "None"), *known]

    def wanted(self) -> Wanted:
        data = self.cleaned_data
        return Wanted(
            types=tuple(data["types"].split()),
            url=data["url"],
            connection=data["connection"],
            path=data["path"],
            folders=tuple(data["folders"].split()),
            flows=tuple(data["flows"].split()),
            include_output=data["include_output"],
        )

    @staticmethod
    def initial_of(row: Subscription) -> dict[str, Any]:
        lists = {name: "\n".join(getattr(row, name)) for name in ("types", "folders", "flows")}
        return {**lists, **{name: getattr(row, name) for name in ("url", "connection", "path", "include_output")}}
