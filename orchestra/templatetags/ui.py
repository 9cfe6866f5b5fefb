"""Template tags of the design system (icons, badges, times)."""

from __future__ import annotations

from django import template

register = template.Library()
