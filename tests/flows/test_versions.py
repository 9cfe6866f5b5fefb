"""Semantic versions."""

from __future__ import annotations

import pytest

from flows import versions

ORDER = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
]


def test_versions_have_the_order_of_the_standard() -> None:
    parsed = [versions.parse(text) for text in ORDER]
    assert parsed == sorted(parsed, key=lambda v: v._key())  # type: ignore[union-attr]
    assert len(set(parsed)) == len(ORDER)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0 ", "1.0.0\n", "१.0.0", "1." + "1" * 50 + ".0"],
)
def test_what_is_no_strict_version_is_refused(text: str) -> None:
    assert versions.parse(text) is None


def test_suggestions_go_on_from_the_newest_release() -> None:
    assert versions.suggestions("1.4.2") == [("Patch", "1.4.3"), ("Minor", "1.5.0"), ("Major", "2.0.0")]
    assert versions.suggestions("2.0.0-rc.1")[0] == ("Patch", "2.0.0")
    assert versions.suggestions(None)[0] == ("First", "1.0.0")


def test_the_highest_is_by_order_not_by_text() -> None:
    assert versions.highest(["1.9.0", "1.10.0", "1.10.0-rc.1"]) == "1.10.0"
