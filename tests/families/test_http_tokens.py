"""http steps through a connection whose tokens expire, are refused, or do not come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flows.steps.base import Fail, Retry
from resources import connections, oauth, secrets
from resources.access import Actor
from tests.families.attempt import attempt, output
from tests.resources.server import serve
from tests.resources.test_http_auth import SECRET, TokenServer

ADMIN = Actor.system("tests")
POST = {"connection": "api", "method": "POST", "json": {"a": 1}, "ok": [200]}
pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Iterator[tuple[TokenServer, Any]]:
    oauth._held.clear()
    tokens = TokenServer()
    secrets.set_secret(actor=ADMIN, name="client", value=SECRET)
    with serve({"/token": tokens.token, "/api": tokens.api}) as server:
        auth = {"type": "oauth2", "token_url": server.url("/token"), "client_id": "me", "secret": "client"}
        settings = {"base_url": server.url("/api"), "auth": auth, "allow_networks": ["127.0.0.0/8"]}
        connections.create_connection(actor=ADMIN, name="api", kind="http", settings=settings)
        yield tokens, server


def test_a_refused_token_is_renewed_and_the_whole_request_sent_again(site: Any) -> None:
    tokens, server = site
    assert output(attempt("http", POST))["status"] == 200
    tokens.given += 1  # what it gave before is not accepted any more
    assert output(attempt("http", POST))["status"] == 200
    assert [body for (_, path, _), body in zip(server.seen, server.bodies, strict=True) if path == "/api"] == [
        b'{"a":1}'
    ] * 3
    tried = attempt("http", POST)
    assert "token-" not in str(tried.outcome)


def test_no_answer_for_a_token_is_tried_again_and_a_refusal_is_not(site: Any) -> None:
    tokens, _ = site
    tokens.answer = (503, b"")
    outcome = attempt("http", POST).outcome
    assert isinstance(outcome, Retry) and (outcome.error.cls, outcome.acted) == ("connect", False)
    tokens.answer = (400, b'{"error": "invalid_scope"}')
    outcome = attempt("http", POST).outcome
    assert isinstance(outcome, Fail) and outcome.error.cls == "refused"
    assert "invalid_scope" in outcome.error.message and "client" in outcome.error.message
    assert tokens.api_calls == 0
