from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from runs.keeper import Keeper


class Command(BaseCommand):
    help = "Do what is due by the clock: schedules, deliveries, retention. `manage.py serve` runs this by itself."

    def handle(self, *args: Any, **options: Any) -> None:
        Keeper().run()
