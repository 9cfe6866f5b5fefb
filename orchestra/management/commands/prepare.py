"""Makes the database what this version needs: part of every start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Migrate the database and, where DEMO is on, make the demo workspace. Prints demo_info's JSON or nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns about a missing one
        call_command("migrate", interactive=False, verbosity=0)
        if settings.DEMO:
            call_command("make_demo", verbosity=0, stdout=self.stderr)
            call_command("demo_info", stdout=self.stdout)
