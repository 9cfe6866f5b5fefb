from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs import clock, retention


class Command(BaseCommand):
    help = "Delete runs that ended more than DAYS days ago, after every subscription was told of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=float, required=True, help="keep runs that ended less than this ago")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["days"] > 0:
            raise CommandError("DAYS must be more than 0.")
        clock.measure()
        now = clock.now()
        before = now - options["days"] * retention.DAY
        if options["dry_run"]:
            count = retention.deletable(before).count()
            print(f"{count} {'run' if count == 1 else 'runs'} would be deleted.")
            return
        count = 0
        while done := retention.delete_runs(ended_before=before, now=now):
            count += done
        print(f"{count} {'run' if count == 1 else 'runs'} deleted.")
