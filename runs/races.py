"""Losing a race is normal: the loser learns it from one of these, has written nothing, and decides again or leaves."""

from __future__ import annotations


class Stale(Exception):
    """The run moved since it was loaded. Decide again."""
