"""The same people and flow as in the tests of flows, and a way to call the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.models import Flow
from resources.access import Actor
from resources.tokens import create_token
from runs import store
from tests.flows.conftest import SOURCE, author, github_secret, person, source

__all__ = ["author", "github_secret", "person", "source"]


class Caller:
    """A client with a bearer token; answers are (status, JSON, headers)."""

    def __init__(self, token: str | None) -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        kind = headers.pop("kind", "application/json")
        data = body if isinstance(body, (str, bytes)) else json.dumps(body) if body is not None else ""
        return self.client.generic(
            method, "/api/v1" + path, data, content_type=kind, headers={**self.headers, **headers}
        )

    def yaml(self, method: str, path: str, text: str, **headers: str) -> Any:
        return self(method, path, text, kind="application/yaml", **headers)


@pytest.fixture
def call_as() -> Callable[[Any], Caller]:
    def make(user: Any) -> Caller:
        if user is None:
            return Caller(None)
        _, plain = create_token(actor=Actor.of_user(user), user=user, name="test")
        return Caller(plain)

    return make


@pytest.fixture
def live_flow(author: Actor, github_secret: None) -> Flow:
    flow = create_flow(actor=author, source=SOURCE)
    release_draft(actor=author, slug="greet", version="1.0.0", live=True)
    flow.refresh_from_db()
    return flow


@pytest.fixture(autouse=True)
def forget_plans() -> None:
    """A rolled back test gives its release's id to the next one; in production an id is never used twice."""
    store.plan_of.cache_clear()
