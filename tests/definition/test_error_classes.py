"""The error classes of the language are those the page lists, and no others."""

from __future__ import annotations

import re

from django.conf import settings

from flows.steps.base import ERROR_CLASSES


def test_the_table_of_error_classes_says_what_the_code_says() -> None:
    page = (settings.BASE_DIR / "docs" / "language.md").read_text(encoding="utf-8")
    table = page.partition("### Error classes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (.+) \|$", table, re.MULTILINE)
    assert {name: again == "yes" for name, again, _ in rows} == dict(ERROR_CLASSES)
