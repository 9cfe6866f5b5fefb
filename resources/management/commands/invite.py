"""Make a person, and print the link with which they choose a password: the first one of an installation, too."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from resources.access import Actor
from resources.errors import OrchestraError
from resources.grants import grant_role
from resources.people import accounts


class Command(BaseCommand):
    help = "Invite a person: make them, and print a link that is good once, with which they choose a password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="user name")
        parser.add_argument("--email", default="")
        parser.add_argument("--full-name", default="")
        parser.add_argument("--role", action="append", default=[], help="role or role:folder; may be repeated")
        parser.add_argument("--admin", action="store_true", help="administers everything, as --role admin")
        parser.add_argument("--again", action="store_true", help="a new link for somebody there; the password ends")

    def handle(self, *args: Any, **options: Any) -> None:
        roles = [*options["role"], *(["admin"] if options["admin"] else [])]
        if options["again"] and (options["email"] or options["full_name"]):
            raise CommandError("--again changes no --email and no --full-name.")
        try:
            with transaction.atomic():
                link = _invited(options, roles)
        except OrchestraError as error:
            raise CommandError(f"{error.message} {error.hint}".strip()) from error
        self.stderr.write(f"Good once, for {settings.INVITATION_HOURS} hours:")
        self.stdout.write(link)


def _invited(options: dict[str, Any], roles: list[str]) -> str:
    """Raises what the actions do."""
    actor = Actor.system("manage.py invite")
    if options["again"]:
        user = accounts.reset_person(actor=actor, name=options["name"])
    else:
        user = accounts.invite_person(
            actor=actor, name=options["name"], email=options["email"], full_name=options["full_name"]
        )
    for role, _, folder in (text.partition(":") for text in roles):
        grant_role(actor=actor, role=role, folder=folder, user=user)
    return accounts.link_for(user)
