"""Check the audit log's hash chain: of this database, or of an exported file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from resources import audit
from resources.errors import BadInput
from resources.trail import offline


def _anchor(text: str) -> tuple[int, str] | None:
    try:
        return offline.anchor_of(text)
    except BadInput as error:
        raise CommandError(error.message) from error


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    """The file, or standard input for "-"; line ends within CSV cells stay as they are."""
    if path == "-":
        yield sys.stdin
        return
    try:
        file = open(path, encoding="utf-8", newline="")  # noqa: SIM115  closed below
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


class Command(BaseCommand):
    help = "Verify the audit log, or an export of it without the database. Exits 1 when it was edited, cut or added to."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--anchor", default="", help="NUMBER:HASH noted earlier, outside this database")
        parser.add_argument(
            "--file", default="", help="an export (JSON Lines or CSV) instead of the database; -: stdin"
        )
        parser.add_argument(
            "--selection", action="store_true", help="the file was filtered: check each entry by itself"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        anchor = _anchor(options["anchor"])
        if options["selection"] and not options["file"]:
            raise CommandError("--selection goes with --file.")
        if options["file"]:
            self._file(options["file"], options["selection"], anchor)
            return
        self._tell(audit.verify(anchor=anchor))
        seq, last = audit.head()
        self.stdout.write(f"The audit log is whole: {seq} entries. Note this elsewhere: {seq}:{last}")

    def _file(self, path: str, selection: bool, anchor: tuple[int, str] | None) -> None:
        with _opened(path) as file:
            try:
                done = offline.verify(file, selection=selection, anchor=anchor)
            except (BadInput, UnicodeDecodeError) as error:
                said = f"{error.message} {error.hint}" if isinstance(error, BadInput) else f"Not UTF-8: {error}."
                raise CommandError(said, returncode=1) from error
        self._tell(done.findings)
        kind = "each entry is what was written, what is missing between them cannot show" if selection else "whole"
        end = "" if anchor else " Whether its end was cut off shows only with --anchor."
        self.stdout.write(f"{done.count} entries, {done.first} to {done.last}:{done.hash}: {kind}.{end}")

    def _tell(self, findings: list[audit.Finding]) -> None:
        for finding in findings:
            self.stdout.write(f"{finding.seq}\t{finding.kind}\t{finding.message}")
        if findings:
            raise CommandError(f"The audit log has {len(findings)} finding(s).", returncode=1)
