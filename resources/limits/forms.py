"""The form of a connection's limits. Empty fields limit nothing."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from resources.forms import Inline
from resources.limits.config import Limits

_PER: Final = (("second", "second"), ("minute", "minute"), ("hour", "hour"))
_ON_OPEN: Final = (
    ("queue", "wait until it closes"),
    ("fallback", "use their fallback at once; wait where they have none"),
    ("fail", "fail at once"),
)
#: where an error's path is shown
_FIELD_OF: Final = {
    "limits.concurrency": "concurrency", "limits.rate.count": "count", "limits.rate.per": "per",
    "limits.rate.burst": "burst", "limits.adaptive.min": "least", "limits.adaptive.latency": "latency",
    "limits.adaptive": "adaptive",
}  # fmt: skip
_BREAKER: Final = ("failures", "window", "ratio", "open_for", "half_open", "on_open")


def _number(**attrs: str) -> forms.NumberInput:
    return forms.NumberInput(attrs={"class": "input input--num", **attrs})


def _select() -> forms.Select:
    return forms.Select(attrs={"class": "input"})


class LimitsForm(Inline):
    """`groups` gives its fields as the page shows them: (title, what it means, fields)."""

    concurrency = forms.IntegerField(
        label="At a time, at most", required=False, min_value=1, widget=_number(), help_text="Attempts under way."
    )
    adaptive = forms.BooleanField(
        label="Adapt to the other side",
        required=False,
        help_text="A 429 closes the tap for all workers as long as it says; the number shrinks, and grows back.",
    )
    least = forms.IntegerField(label="Never fewer than", required=False, min_value=1, widget=_number())
    latency = forms.FloatField(
        label="Shrink above (seconds)",
        required=False,
        widget=_number(step="any"),
        help_text="How long an answer takes.",
    )
    count = forms.IntegerField(label="Attempts", required=False, min_value=1, widget=_number())
    per = forms.ChoiceField(label="In each", required=False, choices=_PER, initial="second", widget=_select())
    burst = forms.IntegerField(
        label="At once after a quiet time", required=False, min_value=1, initial=1, widget=_number()
    )
    breaker = forms.BooleanField(label="Open when the other side fails", required=False)
    failures = forms.IntegerField(label="Failures", required=False, min_value=1, initial=5, widget=_number())
    window = forms.FloatField(
        label="Within (seconds)", required=False, initial=60.0, widget=_number(step="any"), help_text="1 to 3,600."
    )
    ratio = forms.FloatField(
        label="And at least this share of attempts",
        required=False,
        initial=0.5,
        widget=_number(step="any"),
        help_text="0.5 is half of them.",
    )
    open_for = forms.FloatField(
        label="Open for (seconds)",
        required=False,
        initial=30.0,
        widget=_number(step="any"),
        help_text="Then it probes.",
    )
    half_open = forms.IntegerField(
        label="Probes that must succeed", required=False, min_value=1, initial=1, widget=_number()
    )
    on_open = forms.ChoiceField(
        label="Steps meanwhile", required=False, choices=_ON_OPEN, initial="queue", widget=_select()
    )

    @property
    def groups(self) -> list[tuple[str, str, list[Any]]]:
        def fields(*names: str) -> list[Any]:
            return [self[name] for name in names]

        return [
            ("Concurrency", "Of all workers together.", fields("concurrency", "adaptive", "least", "latency")),
            ("Rate", "A token bucket.", fields("count", "per", "burst")),
            ("Circuit breaker", "Shared by all workers.", fields("breaker", *_BREAKER)),
        ]  # fmt: skip

    def field_of(self, path: str) -> str | None:
        if path.startswith("limits.breaker."):
            name = path.rpartition(".")[2]
            return name if name in self.fields else None
        return _FIELD_OF.get(path)

    def limits(self) -> dict[str, Any] | None:
        """As the action takes them; None where nothing is limited."""
        data = self.cleaned_data
        found: dict[str, Any] = {}
        if data["concurrency"] is not None:
            found["concurrency"] = data["concurrency"]
        if data["adaptive"]:
            found["adaptive"] = _given({"min": data["least"], "latency": data["latency"]})
        if data["count"] is not None:
            found["rate"] = _given({name: data[name] for name in ("count", "per", "burst")})
        if data["breaker"]:
            found["breaker"] = _given({name: data[name] for name in _BREAKER})
        return found or None

    @staticmethod
    def initial_of(limits: Limits | None) -> dict[str, Any]:
        """The form's fields of the limits as they are; what is not set shows its default."""
        if limits is None:
            return {}
        found: dict[str, Any] = {"concurrency": limits.concurrency}
        if limits.adaptive is not None:
            found |= {"adaptive": True, "least": limits.adaptive.min, "latency": limits.adaptive.latency}
        if limits.rate is not None:
            found |= limits.rate.model_dump()
        if limits.breaker is not None:
            found |= {"breaker": True, **limits.breaker.model_dump()}
        return found


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}


class CircuitForm(Inline):
    reason = forms.CharField(
        label="Why", max_length=500, widget=forms.TextInput(attrs={"class": "input", "autocomplete": "off"})
    )
