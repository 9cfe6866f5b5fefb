"""Seal every stored secret, and all else that is sealed, under the newest encryption key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from resources import sealed
from resources.access import Actor

#: what to do about a value that no key opens: a secret, a payload
_MEND = ("set it again", "put its key back into the ring, or restore it from a backup")


class Command(BaseCommand):
    help = (
        "Seal all that is sealed anew under the newest key of the ring, secrets first. While it runs, all works; "
        "broken off, it goes on where it was. Exits 1 where something cannot be opened."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; say which keys are in use")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["check"]:
            self._rotate()
        self._check()

    def _rotate(self) -> None:
        broken = []
        for done in sealed.reseal_all(actor=Actor.system("manage.py rotate_keys")):
            self.stdout.write(f"{done.label}: {done.changed} sealed under {sealed.newest()}")
            mend = _MEND[done.label == "payload"]
            broken += [f"{done.label} of {name} cannot be opened: {mend}." for name in done.lost]
            if done.left:
                broken.append(f"{done.label}: others go on sealing under an old key. Restart them with the new ring.")
        for line in broken:
            self.stderr.write(line)
        if broken:
            raise CommandError(f"{len(broken)} could not be done.", returncode=1)

    def _check(self) -> None:
        found = sealed.in_use()
        for key_id in settings.ENCRYPTION_KEYS:
            where = ", ".join(f"{n[key_id]} x {label}" for label, n in found.columns.items() if key_id in n)
            said = "may be dropped from the ring" if key_id in found.droppable else "seals what is written from now on"
            if key_id != sealed.newest() and key_id in found.keys:
                said = "still needed"
            self.stdout.write(f"{key_id}: {said}{f' ({where})' if where else ''}")
        if found.missing:
            raise CommandError(f"Not in the ring, but needed: {', '.join(found.missing)}.", returncode=1)
