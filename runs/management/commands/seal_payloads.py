"""Seal what runs keep in the database and was written before ENCRYPT_PAYLOADS."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from resources import resealing
from resources.access import Actor
from runs.search.rebuilding import forget_dropped_words, rebuild

_ROOM = {
    "sqlite": "The file still has what it held, in free pages: stop, run VACUUM on it, and start.",
    "postgresql": "The tables still have what they held until they are vacuumed, the write-ahead log somewhat longer.",
}


class Command(BaseCommand):
    help = (
        "Seal the payloads of runs that are in the open, under the newest key of the ring. Set ENCRYPT_PAYLOADS=1 "
        "everywhere first. While it runs, everything works; broken off, it goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; say how many there are")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self.stdout.write(f"{resealing.count_plain()} values are in the open.")
            return
        if not settings.ENCRYPT_PAYLOADS:
            raise CommandError("Set ENCRYPT_PAYLOADS=1 for all processes first: they would go on writing in the open.")
        broken = self._seal()
        list(rebuild())  # the words of runs go from the index
        forget_dropped_words()
        self.stdout.write("The search index no longer has the texts of runs.")
        self._say_what_is_left()
        if broken:
            raise CommandError(f"{broken} could not be done.", returncode=1)

    def _seal(self) -> int:
        broken = 0
        for done in resealing.reseal(actor=Actor.system("manage.py seal_payloads"), plain=True):
            if done.changed:
                self.stdout.write(f"{done.label}: {done.changed} rows sealed")
            for name in done.lost:
                self.stderr.write(f"{done.label} {name} cannot be opened: put its key back into the ring.")
            if done.left:
                self.stderr.write(f"{done.label}: others go on writing in the open. Restart them with the setting.")
            broken += len(done.lost) + done.left
        return broken

    def _say_what_is_left(self) -> None:
        self.stdout.write(_ROOM[connection.vendor])
