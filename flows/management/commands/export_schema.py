"""manage.py export_schema: the JSON Schema of the definition language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flows.definition.schema import completions, json_schema


class Command(BaseCommand):
    help = "Write the JSON Schema of the flow definition language (to standard output, or to --output)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, help="the file to write")
        parser.add_argument("--completions", action="store_true", help="write what the editor completes instead")

    def handle(self, *args: Any, **options: Any) -> None:
        what = completions() if options["completions"] else json_schema()
        text = json.dumps(what, indent=2, ensure_ascii=False)
        target: Path | None = options["output"]
        if target is None:
            self.stdout.write(text)
            return
        try:
            target.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"Cannot write {target}: {error.strerror}") from error
