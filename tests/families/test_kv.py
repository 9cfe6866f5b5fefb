"""The kv family: small values, one effect for one key."""

from __future__ import annotations

from typing import Any

import pytest

from flows.steps.registry import family
from tests.families.attempt import attempt, error, output, resolve

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def run(operation: str, key: str = "a:1", flow: str = "release-service", **args: Any) -> Any:
    return output(attempt("kv", {operation: {"key": "n", **args}}, key=key, flow=flow))


def test_reads_what_was_written() -> None:
    assert run("get") == {"found": False, "value": None}
    run("set", value={"a": [1]})
    assert run("get") == {"found": True, "value": {"a": [1]}}


def test_a_stored_null_is_found() -> None:
    run("set", value=None)
    assert run("get") == {"found": True, "value": None}


def test_a_repeated_attempt_counts_once() -> None:
    assert run("increment", key="a:1") == {"value": 1}
    assert run("increment", key="a:1") == {"value": 1}
    assert run("increment", key="a:2", value=4) == {"value": 5}


def test_a_repeated_delete_gives_the_first_answer() -> None:
    run("set", key="a:1", value=1)
    assert run("delete", key="a:2") == {"deleted": True}
    assert run("delete", key="a:2") == {"deleted": True}
    assert run("delete", key="a:3") == {"deleted": False}


def test_flows_do_not_see_each_other_unless_they_share_a_namespace() -> None:
    run("set", key="a:1", value=1)
    assert run("get", flow="other")["found"] is False
    assert run("get", flow="other", namespace="flow:release-service")["found"] is False
    run("set", key="a:2", value=2, namespace="common")
    assert run("get", flow="other", namespace="common") == {"found": True, "value": 2}


def test_only_a_number_can_be_counted() -> None:
    run("set", value="text")
    failed = attempt("kv", {"increment": {"key": "n"}}, key="a:2")
    assert error(failed) == "input"


def test_a_large_value_is_refused() -> None:
    assert error(attempt("kv", {"set": {"key": "n", "value": "x" * 70_000}})) == "limit"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"get": {"key": "n"}}, "Reads the value n of this flow"),
        ({"set": {"key": "n", "value": 1}}, "Writes the value n of this flow"),
        ({"delete": {"key": "n", "namespace": "common"}}, "Removes the value n of common"),
        ({"increment": {"key": "n", "value": 2}}, "Adds to the value n of this flow: 2"),
    ],
)
def test_describes_itself(config: Any, sentence: str) -> None:
    assert family("kv").describe(resolve("kv", config)) == sentence
