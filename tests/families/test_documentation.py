from __future__ import annotations

from io import StringIO

from django.conf import settings
from django.core.management import call_command

from flows.steps.base import ERROR_CLASSES
from flows.steps.documentation import document
from flows.steps.registry import all_families


def test_the_page_in_docs_is_current() -> None:
    page = (settings.BASE_DIR / "docs" / "steps.md").read_text(encoding="utf-8")
    assert page == document(all_families()), "run `manage.py document_steps --write`"


def test_the_command_prints_the_page() -> None:
    out = StringIO()
    call_command("document_steps", stdout=out)
    assert out.getvalue() == document(all_families())


def test_every_error_class_is_listed() -> None:
    text = document(all_families())
    assert all(f"| `{name}` |" in text for name in ERROR_CLASSES)


def test_inner_keys_have_their_path() -> None:
    assert "| `reviewers.quorum` | `1` |" in document(all_families())
