"""How often signing in may fail: a counter per name and address in the cache, gone after a minute."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

LIMIT, WINDOW = 10, 60  # failures, seconds


def seconds_to_wait(name: str, address: str, now: float) -> int:
    """0, or the seconds until this name may be tried again from this address."""
    failures, first = _failures(name, address, now)
    if failures < LIMIT or now >= first + WINDOW:
        return 0
    return max(1, round(first + WINDOW - now))


def note_failure(name: str, address: str, now: float) -> None:
    failures, first = _failures(name, address, now)
    if now >= first + WINDOW:
        failures, first = 0, now
    cache.set(_key(name, address), (failures + 1, first), WINDOW)


def _failures(name: str, address: str, now: float) -> tuple[int, float]:
    """(failures, epoch seconds of the first of them)."""
    known: tuple[int, float] | None = cache.get(_key(name, address))
    return known or (0, now)


def _key(name: str, address: str) -> str:
    digest = hashlib.sha256(f"{name.strip().lower()}\0{address}".encode()).hexdigest()
    return f"sign-in:{digest}"
