"""Every list asks the database as often for many rows as for few."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from flows.binding_actions import set_binding
from resources import artifacts, kv
from resources.access import Actor
from resources.connections import create_connection
from resources.grants import grant_role
from resources.people import groups
from resources.secrets import set_secret
from resources.tokens import create_token
from runs.dead.models import Quarantine
from tests.pages import seed

ADMIN = Actor.system("tests")
LISTS = (
    "/", "/runs", "/flows", "/inbox", "/dead-letters", "/dead-letters/replays", "/quarantine", "/connections",
    "/secrets", "/resources", "/system", "/api/v1/runs", "/api/v1/dead-letters", "/api/v1/quarantine",
    "/api/v1/connections", "/api/v1/resources", "/bindings", "/api/v1/bindings",
    "/people", "/groups", "/access", "/access?folder=team-0", "/tokens", "/api/v1/people", "/api/v1/groups",
    "/api/v1/grants", "/api/v1/access?folder=team-0", "/api/v1/tokens?others=true",
)  # fmt: skip


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def _grow(first: int, last: int) -> None:
    """Rows first to last - 1 of everything that is listed, each of a flow, a connection and a secret of its own."""
    for n in range(first, last):
        flow = seed.flow(f"flow-{n}", folder=f"team-{n}")
        for story in (seed.Story(flow).failed(), seed.Story(flow).to_approval()):
            artifacts.store(b"x%d" % n, run_id=story.run.pk, step="build", folder=flow.folder)
        Quarantine.objects.create(flow=flow, digest=f"{n:064}", reason="bad", actor="root", run_id=story.run.pk, at=1.0)
        set_secret(actor=ADMIN, name=f"secret-{n}", value="long-enough-value")
        auth = {"type": "bearer", "secret": f"secret-{n}"}
        settings = {"base_url": f"https://c{n}.example.com", "auth": auth}
        create_connection(actor=ADMIN, name=f"connection-{n}", kind="http", settings=settings)
        set_binding(actor=ADMIN, name=f"name-{n}", flow=flow.slug, live=f"connection-{n}")
        set_binding(actor=ADMIN, name=f"shared-{n}", flow="flow-0", live=f"connection-{n}")
        person, group = User.objects.create_user(f"person-{n}"), groups.create_group(actor=ADMIN, name=f"group-{n}")
        groups.add_member(actor=ADMIN, name=group.name, member=person.username)
        for whom in ({"user": person}, {"group": group}):
            grant_role(actor=ADMIN, role="operator", folder="team-0", **whom)
        create_token(actor=ADMIN, user=person, name="script")
        kv.set(namespace=f"flow:flow-{n}", key="k", value=n, now=0)


def _queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as found:
        answer = client.get(address)
    assert answer.status_code == 200, (address, answer.content[:300])
    return len(found)


def _counts(client: Client) -> dict[str, int]:
    for address in LISTS:  # what is read once a process, such as the plan of a release, is read now
        _queries(client, address)
    return {address: _queries(client, address) for address in LISTS}


def test_every_list_asks_as_often_for_many_rows_as_for_few(root: Client) -> None:
    _grow(0, 2)
    few = _counts(root)
    _grow(2, 9)
    many = _counts(root)
    more: dict[str, Any] = {a: (few[a], many[a]) for a in LISTS if many[a] > few[a]}
    assert more == {}
