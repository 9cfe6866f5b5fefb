"""Print docs/steps.md, or write it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from flows.steps.documentation import document
from flows.steps.registry import all_families


class Command(BaseCommand):
    help = "Print the documentation of the step families; --write puts it into docs/steps.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--write", action="store_true", help="write docs/steps.md instead of printing")

    def handle(self, *args: Any, write: bool = False, **options: Any) -> None:
        text = document(all_families())
        if not write:
            self.stdout.write(text, ending="")
            return
        path = settings.BASE_DIR / "docs" / "steps.md"
        path.write_text(text, encoding="utf-8")
        self.stdout.write(f"Wrote {path}")
