"""The demo workspace."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orchestra.demo.workspace import make_demo


class Command(BaseCommand):
    help = "Make the demo workspace where it is missing: people, a connection, the flow release-approval."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("The demo is off. Set DEMO=1 to make a demo workspace in this database.")
        make_demo()
