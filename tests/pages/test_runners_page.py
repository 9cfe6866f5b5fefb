"""The page of runners: nobody there, somebody at work, jobs that no runner takes, tokens shown once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.actions import start_run
from runs.jobs import tokens
from runs.models import RunnerToken
from runs.worker import Worker
from tests.api.conftest import Caller
from tests.engine.cluster import SYSTEM, make_flow
from tests.engine.test_store_queue import drain
from tests.flows.conftest import person

__all__ = ["person"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.db_matrix]
FLOW = "flow: jobs\nsteps:\n  - id: one\n    job: {labels: [linux]}\n"


def page(client: Client, address: str = "/runners") -> str:
    return re.sub(r"\s+", " ", client.get(address).content.decode())


def test_the_page_says_who_is_there_and_what_nobody_takes(admin_client: Client) -> None:
    assert "No runners yet" in page(admin_client)
    run = start_run(actor=SYSTEM, flow=make_flow(FLOW), input={}).run
    drain(Worker("w"))
    assert "No runner with these labels" in page(admin_client)
    assert "Held: no runner with labels linux" in page(admin_client, f"/runs/{run.pk}?step=one")
    runner = Caller(tokens.create_runner_token(actor=SYSTEM, name="box")[1])
    assert runner("POST", "/runner/claim", {"name": "vm-1", "labels": ["linux"]}).json()["job"]
    text = page(admin_client)
    assert "vm-1" in text and f"/runs/{run.pk}?step=one" in text and "No runner with these labels" not in text
    assert "Work for a runner, until" in page(admin_client, f"/runs/{run.pk}?step=one")


def test_a_token_is_made_shown_once_and_revoked(admin_client: Client) -> None:
    made = admin_client.post("/runners/tokens", {"name": "box", "folder": "", "labels": "linux, gpu"})
    plain = re.search(r"orr_[\w-]{43}", made.content.decode())
    assert plain is not None and RunnerToken.objects.get().labels == ["gpu", "linux"]
    assert plain[0] not in page(admin_client) and "box" in page(admin_client)
    admin_client.post(f"/runners/tokens/{RunnerToken.objects.get().pk}/revoke")
    assert tokens.authenticate(plain[0]) is None
    bad = admin_client.post("/runners/tokens", {"name": "box", "labels": "NO GOOD"})
    assert bad.status_code == 422 and "A label has" in bad.content.decode()


def test_a_viewer_makes_no_token(client: Client, person: Callable[..., Any]) -> None:
    client.force_login(person("vera", "viewer"))
    assert "Add a token" not in page(client)
    assert client.post("/runners/tokens", {"name": "x"}).status_code == 403
    assert not RunnerToken.objects.exists()
