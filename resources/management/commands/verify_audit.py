"""Check the audit log's hash chain."""

from __future__ import annotations

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resources import audit


def _anchor(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", text)
    if not found:
        raise CommandError("--anchor is NUMBER:HASH, as this command prints it.")
    return int(found[1]), found[2]


class Command(BaseCommand):
    help = "Verify the audit log. Exits 1 when it was edited, cut or added to."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anchor", default="", help="NUMBER:HASH noted earlier, outside this database")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = audit.verify(anchor=_anchor(options["anchor"]))
        for finding in findings:
            self.stdout.write(f"{finding.seq}\t{finding.kind}\t{finding.message}")
        if findings:
            raise CommandError(f"The audit log has {len(findings)} finding(s).", returncode=1)
        seq, last = audit.head()
        self.stdout.write(f"The audit log is whole: {seq} entries. Note this elsewhere: {seq}:{last}")
