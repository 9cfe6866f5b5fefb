"""Print a new API token of a user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from resources.access import Actor
from resources.errors import OrchestraError
from resources.tokens import create_token


class Command(BaseCommand):
    help = "Create an API token and print it: one line, shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="command line", help="what it is for")
        parser.add_argument("--expires-days", type=int, help="days until it ends (default: never)")
        parser.add_argument("--scope", action="append", default=[], help="role or role:folder; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model().objects
        user = users.filter(**{get_user_model().USERNAME_FIELD: options["user"]}).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        days = options["expires_days"]
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--expires-days is 1 to 3650.")
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        try:
            _, plain = create_token(
                actor=Actor.system("manage.py create_token"),
                user=user,
                name=options["name"],
                expires_at=expires_at,
                scopes=options["scope"],
            )
        except OrchestraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(plain)
