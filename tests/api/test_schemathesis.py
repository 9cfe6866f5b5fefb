"""Requests nobody would write, made of our description, sent to the served program: every answer is a declared one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.web import Web, web

# Left out: positive_data_acceptance, since which YAML is a flow and which input fits it is more than OpenAPI can say.
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
#: and each request again without a token, and with a wrong one, until the operation has done once what it was asked
WHO: list[Any] = [*CHECKS, ignored_auth]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web(tmp_path_factory.mktemp("web")) as site:
        yield site


@pytest.fixture(scope="module")
def token(served: Web) -> str:
    return served.manage("create_token", "admin")


@pytest.fixture(scope="module")
def another(served: Web) -> str:
    return served.manage("create_token", "author")


ENDS_TOKENS = "/tokens/{token_id}"
#: each test takes every SHARES-th operation, so that none takes long
SHARES = 6


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_a_declared_one(served: Web, token: str, another: str, mode: str, share: int) -> None:
    schema = schemathesis.openapi.from_url(f"{served.url}/api/v1/openapi.json", timeout=60)
    tried = 0
    for found in list(schema.get_all_operations())[share::SHARES]:
        assert isinstance(found, Ok)
        operation = found.ok()
        done = False

        @settings(
            max_examples=15,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def check(case: Any) -> None:
            nonlocal tried, done
            tried += 1
            # an admin could end the very token that all others are tried with
            bearer = another if case.operation.path.endswith(ENDS_TOKENS) else token
            headers = {"Authorization": f"Bearer {bearer}"}
            answer = case.call_and_validate(headers=headers, checks=CHECKS if done else WHO)
            done = done or (mode == "positive" and answer.status_code // 100 == 2)

        check()
    assert tried > 50
