"""How to drive the demo, as JSON."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orchestra.demo.workspace import demo_info


class Command(BaseCommand):
    help = "Print the demo's hook URL, webhook secret, users, way to sign in and world address as JSON."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("The demo is off; outside of it no secret can be read back.")
        self.stdout.write(json.dumps(demo_info(), indent=2))
