"""The kv family: small values, one effect for one key."""

from __future__ import annotations

from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.registry import family
from resources.models import KvEntry
from tests.families.attempt import attempt, error, output, resolve

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def run(operation: str, key: str = "a:1", flow: str = "release-service", **args: Any) -> Any:
    return output(attempt("kv", {operation: {"key": "n", **args}}, key=key, flow=flow))


def test_reads_what_was_written() -> None:
    assert run("get") == {"found": False, "value": None, "version": 0}
    run("set", value={"a": [1]})
    assert run("get") == {"found": True, "value": {"a": [1]}, "version": 1}


def test_a_stored_null_is_found() -> None:
    run("set", value=None)
    assert run("get") == {"found": True, "value": None, "version": 1}


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
    assert run("get", flow="other", namespace="common") == {"found": True, "value": 2, "version": 1}


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
        ({"append": {"key": "n", "value": 2}}, "Adds to the value n of this flow"),
        (
            {"compare_and_set": {"key": "n", "value": 2, "expect": 1}},
            "Writes, if nobody else has, the value n of this flow",
        ),
        ({"list": {"prefix": "order:"}}, "Lists the values order:… of this flow"),
    ],
)
def test_describes_itself(config: Any, sentence: str) -> None:
    assert family("kv").describe(resolve("kv", config)) == sentence


def test_a_repeated_append_adds_once() -> None:
    assert [run("append", key="a:1", value="x") for _ in range(2)] == [{"length": 1, "version": 1}] * 2
    assert run("append", key="a:2", value="y") == {"length": 2, "version": 2}


def test_lists_page_by_page() -> None:
    for n in range(3):
        output(attempt("kv", {"set": {"key": f"order:{n}", "value": n}}, key=f"a:{n}"))
    page = output(attempt("kv", {"list": {"prefix": "order:", "limit": 2}}))
    assert ([entry["value"] for entry in page["entries"]], page["next"]) == ([0, 1], "order:1")
    rest = output(attempt("kv", {"list": {"prefix": "order:", "after": page["next"]}}))
    assert (rest["entries"], rest["next"]) == ([{"key": "order:2", "value": 2, "version": 1}], None)


def test_what_was_read_is_replaced_only_if_nobody_wrote_since() -> None:
    run("set", key="a:1", value="one")
    seen = run("get")["version"]
    run("set", key="a:2", value="two")
    assert run("compare_and_set", key="a:3", value="mine", expect=seen) == {
        "swapped": False,
        "version": 2,
        "value": "two",
    }


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ({"set": {"key": "", "value": 1}}, "config"),
        ({"set": {"key": "n", "value": 1, "ttl": "0s"}}, "input"),
        ({"set": {"key": "n", "value": 1, "ttl": "100000d"}}, "config"),
        ({"set": {"key": "a\nb", "value": 1}}, "input"),
        ({"set": {"key": "n" * 400, "value": 1}}, "input"),
        ({"set": {"key": "n", "namespace": "x" * 99, "value": 1}}, "input"),
        ({"set": {"key": "n", "value": "x" * 70_000}}, "limit"),
        ({"append": {"key": "n", "value": 1, "most": 0}}, "config"),
        ({"append": {"key": "n", "value": 1, "most": 1001}}, "config"),
        ({"compare_and_set": {"key": "n", "value": 1, "expect": -1}}, "config"),
        ({"increment": {"key": "n", "value": "1"}}, "config"),
        ({"list": {"limit": 1001}}, "config"),
        ({"list": {"prefix": "'; DROP TABLE resources_kventry; --"}}, ""),
        ({"list": {"prefix": "%"}}, ""),
        ({"get": {"key": "n"}, "delete": {"key": "n"}}, "config"),
        ({}, "config"),
    ],
)
def test_hostile_configs_are_refused_with_a_sentence_and_leave_nothing(config: Any, cls: str) -> None:
    if cls == "config":
        with pytest.raises(ResolveError) as refused:
            resolve("kv", config)
        assert refused.value.error.cls == "config" and refused.value.error.message
    elif cls:
        failed = attempt("kv", config)
        assert error(failed) == cls
    else:
        assert output(attempt("kv", config))["entries"] == []
    assert not KvEntry.objects.exists()
