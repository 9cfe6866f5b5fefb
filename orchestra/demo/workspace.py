"""The demo workspace: people, a connection to the demo world, and a live flow. Making it twice changes nothing."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.db import transaction

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources import connections
from resources.access import Actor
from resources.models import Connection, Grant, Role, Secret
from resources.secrets import set_secret

FLOW: Final = "release-approval"
SOURCE: Final = Path(__file__).with_name("release_approval.yaml")
#: who may do what, everywhere
PEOPLE: Final[dict[str, tuple[Role, ...]]] = {
    "admin": (Role.ADMIN,),
    "author": (Role.AUTHOR, Role.OPERATOR),
    "operator": (Role.OPERATOR,),
    "reviewer": (Role.REVIEWER,),
    "reviewer2": (Role.REVIEWER,),
}
REVIEWERS: Final = "release-managers"


@dataclass(frozen=True, slots=True)
class Keys:
    """What only the demo may read back; in DATA_DIR, mode 0600."""

    password: str
    webhook_secret: str


def keys() -> Keys:
    """The demo's own keys, made once."""
    path = Path(settings.DATA_DIR) / "demo.json"
    if not path.exists():
        made = Keys(f"demo-{secrets.token_hex(4)}", secrets.token_hex(20))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(made), file)
    return Keys(**json.loads(path.read_text()))


def make_demo() -> None:
    """People, grants, secret, connection, flow: each where it is missing; the connection's address kept current."""
    actor, own = Actor.system("demo"), keys()
    with transaction.atomic():
        _make_people(own.password)
        if not Secret.objects.filter(name="github-hook").exists():
            set_secret(actor=actor, name="github-hook", value=own.webhook_secret)
        world = settings.WORLD_URL or "http://127.0.0.1:9"
        _make_connection(actor, "world", world, honours=True)
        _make_connection(actor, "world-plain", f"{world}/plain", honours=False)  # ignores idempotency keys
    if not Flow.objects.filter(slug=FLOW).exists():
        author = Actor.of_user(User.objects.get(username="author"))
        create_flow(actor=author, source=SOURCE.read_text())
        release_draft(actor=author, slug=FLOW, version="1.0.0", notes="The first release.", live=True)


def _make_people(password: str) -> None:
    group, _ = Group.objects.get_or_create(name=REVIEWERS)
    hashed = ""  # of the one password they share: once, since it is slow by design
    for name, roles in PEOPLE.items():
        user, created = User.objects.get_or_create(username=name, defaults={"email": f"{name}@example.org"})
        if created:
            hashed = hashed or make_password(password)
            user.password = hashed
            user.save(update_fields=["password"])
        for role in roles:
            Grant.objects.get_or_create(user=user, folder="", role=role)
        if Role.REVIEWER in roles:
            user.groups.add(group)


def _make_connection(actor: Actor, name: str, base_url: str, honours: bool) -> None:
    wanted = {"base_url": base_url, "allow_networks": ["127.0.0.0/8"], "honours_idempotency_key": honours}
    known = Connection.objects.filter(name=name).first()
    if known is None:
        connections.create_connection(actor=actor, name=name, kind="http", settings=wanted)
    elif any(known.settings.get(key) != value for key, value in wanted.items()):
        connections.update_connection(actor=actor, name=name, settings={**known.settings, **wanted})


def demo_info() -> dict[str, Any]:
    """What a script needs to drive the demo; the webhook secret is the demo's own, no other can be read back."""
    own = keys()
    return {
        "hook_url": f"{settings.PUBLIC_URL}/hooks/{FLOW}/github",
        "webhook_secret": own.webhook_secret,
        "world_url": settings.WORLD_URL,
        "users": list(PEOPLE),
        "sign_in": {"url": f"{settings.PUBLIC_URL}/login", "password": own.password},
    }
