"""Who reads a request learns no key that answers a wait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals.models import ApprovalRequest
from tests.approvals.conftest import World

pytestmark = pytest.mark.db_matrix
KEY = "01m7zmfacfvrw2f0ed243mkbbq-secretkeyofthewait"
ADDRESS = f"https://orchestra.example.org/callbacks/{KEY}"


@pytest.fixture
def request_with_address(world: World) -> ApprovalRequest:
    request: ApprovalRequest = world.ask(title=f"Tell {ADDRESS}")
    actions = json.loads(json.dumps(request.actions))
    actions[0]["config"] = {"url": "https://example.org/", "json": {"answer_to": ADDRESS}}
    request.actions, request.summary = actions, f"It answers to {ADDRESS}."
    request.save(update_fields=["actions", "summary"])
    return request


@pytest.mark.parametrize("path", ["/api/v1/approvals/{id}", "/api/v1/approvals", "/inbox", "/approvals/{id}"])
def test_the_address_of_a_wait_is_shown_without_its_key(
    world: World, request_with_address: ApprovalRequest, path: str, client: Client
) -> None:
    client.force_login(User.objects.get(username="rita"))
    answer: Any = client.get(path.replace("{id}", request_with_address.pk))
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "/callbacks/" in text and KEY not in text and "secretkeyofthewait" not in text
