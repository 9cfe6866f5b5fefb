"""The role of PostgreSQL that workers sign in as."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import environ
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from orchestra.role import grants
from orchestra.role.login import NAME, RoleRefused, problem_with, read_login


class Command(BaseCommand):
    help = (
        f"Make the role of {NAME}, or bring it up to date: it may do what workers need, and nothing else. Part of "
        "every start where that is set. Run it as the role of DATABASE_URL, which owns the tables."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the rights differ")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            login = read_login(environ.Env().str(NAME, default=""), connection.settings_dict)
            if options["check"]:
                grants.refuse_what_is_wrong(login.name)
                if problem := problem_with(login, connection):
                    raise RoleRefused(f"The role {login.name} cannot sign in as {NAME} says: {problem}")
            else:
                grants.give(login)
        except RoleRefused as error:
            raise CommandError(str(error), returncode=1) from error
        if options["verbosity"]:
            self.stdout.write(f"The role {login.name} may do what workers need, and nothing else.")
