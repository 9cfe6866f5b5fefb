"""Semantic versions of releases (semver.org 2.0.0, strict, without a leading "v"). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering

MAX_LENGTH = 40
_NUMBER = r"(?:0|[1-9]\d*)"
_PRE = rf"(?:{_NUMBER}|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[object, ...]:
        # a pre-release comes before its release; numbers before words within it
        pre = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, pre)


def parse(text: str) -> Version | None:
    """The version, or None when `text` is not a strict semantic version of at most 40 characters."""
    match = _SEMVER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        return None
    major, minor, patch, pre = match.groups()
    return Version(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else ())


def highest(versions: Iterable[str]) -> str | None:
    """The highest of valid version texts, or None."""
    known = [(v, text) for text in versions if (v := parse(text))]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def suggestions(latest: str | None) -> list[tuple[str, str]]:
    """(name, version) of what could come next; for a first release the two usual beginnings."""
    v = parse(latest) if latest else None
    if v is None:
        return [("First", "1.0.0"), ("Preview", "0.1.0")]
    base = f"{v.major}.{v.minor}"
    patch = f"{base}.{v.patch}" if v.pre else f"{base}.{v.patch + 1}"
    return [("Patch", patch), ("Minor", f"{v.major}.{v.minor + 1}.0"), ("Major", f"{v.major + 1}.0.0")]
