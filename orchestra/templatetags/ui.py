"""Template tags of the design system: icons, states, times, JSON. Loaded in every template (settings: builtins)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import get_current_timezone

from orchestra import words

register = template.Library()
_RESOURCE = re.compile(r"res://([0-9a-z]{26})")


def _now(context: dict[str, Any]) -> float:
    """The moment the page was made; presenters put it into the context so that one page has one `now`."""
    return float(context.get("now") or time.time())


@register.simple_tag
def icon(name: str, css: str = "", label: str = "") -> SafeString:
    """An icon of the sprite. With a label it is read out, without one it is decoration."""
    drawn = format_html('<svg class="{}" aria-hidden="true"><use href="#{}"/></svg>', f"icon {css}".strip(), name)
    return drawn + format_html('<span class="sr">{}</span>', label) if label else drawn


@register.simple_tag
def state_icon(state: str, label: str = "") -> SafeString:
    return icon(f"s-{state}", "icon--state", label)


@register.simple_tag
def badge(state: str, label: str = "", plain: bool = False) -> SafeString:
    """Silhouette, tone and word of a state: never colour alone."""
    css = "badge badge--plain" if plain else "badge"
    text = label or words.STATE_LABELS.get(state, state)
    return format_html('<span class="{}" data-state="{}">{}{}</span>', css, state, state_icon(state), text)


@register.simple_tag
def pips(have: int, need: int) -> SafeString:
    """Approvals given of those needed, as dots and as a number."""
    dots = SafeString("".join('<i class="on"></i>' if n < have else "<i></i>" for n in range(min(need, 9))))
    return format_html(
        '<span class="pips">{}<span>{}/{}<span class="sr"> approvals</span></span></span>', dots, have, need
    )


@register.simple_tag
def avatar(name: str, you: bool = False) -> SafeString:
    css = "avatar avatar--you" if you else "avatar"
    return format_html('<span class="{}" aria-hidden="true">{}</span>', css, words.initials(name))


@register.simple_tag(takes_context=True)
def ago(context: dict[str, Any], at: float | None) -> SafeString:
    """How long ago, ticking on the page."""
    if at is None:
        return SafeString("")
    return format_html(
        '<time datetime="{}" title="{}" data-ago="{}">{}</time>', iso(at), moment(at), at, words.ago(_now(context) - at)
    )


@register.simple_tag(takes_context=True)
def countdown(context: dict[str, Any], until: float | None, lead: str = "") -> SafeString:
    """Time left, amber under an hour, red under 15 minutes, ticking on the page."""
    if until is None:
        return SafeString("")
    left = until - _now(context)
    tone = words.urgency(left)
    attr = format_html(' data-tone="{}"', tone) if tone else SafeString("")
    attr += format_html(' data-lead="{}"', lead) if lead else SafeString("")
    return format_html(
        '<time class="expiry" datetime="{}" title="{}" data-until="{}"{}>{}<span data-left>{}{}</span>'
        '<span class="sr"> until it expires</span></time>',
        iso(until),
        moment(until),
        until,
        attr,
        icon("s-waiting", "icon--s"),
        f"{lead} " if lead else "",
        words.left(left),
    )


@register.simple_tag(takes_context=True)
def elapsed(context: dict[str, Any], start: float | None, end: float | None = None) -> SafeString:
    """How long something took, or has been taking; the latter ticks."""
    if start is None:
        return format_html('<span class="muted">{}</span>', "not yet")
    if end is not None:
        return format_html("<span>{}</span>", words.duration(end - start))
    return format_html('<span data-since="{}">{}</span>', start, words.duration(_now(context) - start))


@register.filter
def duration(seconds: float | None) -> str:
    return "" if seconds is None else words.duration(seconds)


@register.filter
def iso(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


@register.filter
def clock(at: float | None) -> str:
    """Time of day with seconds, in the server's time zone."""
    return "" if at is None else datetime.fromtimestamp(at, get_current_timezone()).strftime("%H:%M:%S")


@register.filter
def moment(at: float | None) -> str:
    """Day and time of day."""
    return "" if at is None else datetime.fromtimestamp(at, get_current_timezone()).strftime("%-d %b %Y, %H:%M:%S")


@register.filter
def short(digest: str) -> str:
    """A digest or id a person can compare: both ends of it."""
    return digest if len(digest) <= 14 else f"{digest[:8]}…{digest[-4:]}"


@register.filter
def person(user: Any) -> str:
    """The name people know somebody by."""
    return "" if user is None else (user.get_full_name() or user.get_username())


@register.filter
def initials(name: str) -> str:
    return words.initials(name)


@register.filter
def state_label(state: str) -> str:
    return words.STATE_LABELS.get(state, state)


@register.filter
def pretty(value: Any) -> SafeString:
    """JSON as coloured, escaped text for <pre class="code">; addresses of resources lead to their pages."""
    return mark_safe(_RESOURCE.sub(r'<a href="/resources/\1">\g<0></a>', words.json_html(value)))  # noqa: S308


@register.filter
def minute(at: float) -> str:
    """Time of day without seconds."""
    return datetime.fromtimestamp(at, get_current_timezone()).strftime("%H:%M")


@register.filter
def day(at: float) -> str:
    return datetime.fromtimestamp(at, get_current_timezone()).strftime("%-d %b")


@register.filter
def tail(run_id: str) -> str:
    """The end of an id: its start is its time and alike for neighbours."""
    return run_id[-6:]


@register.filter
def percent(value: float) -> str:
    return f"{value:.2f}%"
