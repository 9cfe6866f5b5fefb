"""Makes the database what this version needs: part of every start."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from orchestra import reach
from orchestra.role.login import NAME


class Command(BaseCommand):
    help = (
        "Migrate the database, bring the role of WORKER_DATABASE_URL up to date and, where DEMO is on, make the demo "
        "workspace. Prints demo_info's JSON or nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns about a missing one
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError(reach.database_problem(error, connection.settings_dict)) from error
        call_command("migrate", interactive=False, verbosity=0)
        if os.environ.get(NAME):
            call_command("database_role", verbosity=0)
        if settings.REDIS_URL and (problem := reach.redis_problem(settings.CHANNEL_LAYERS["default"]["CONFIG"])):
            self.stderr.write(problem)
        if settings.DEMO:
            call_command("make_demo", verbosity=0, stdout=self.stderr)
            call_command("demo_info", stdout=self.stdout)
