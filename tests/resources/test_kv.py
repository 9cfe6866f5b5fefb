"""Key-values: written once per idempotency key, bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from resources import kv
from resources.errors import BadInput, Conflict, OrchestraError, TooLarge
from resources.models import KvWrite

pytestmark = pytest.mark.db_matrix

NS = "flow:demo"


@pytest.mark.django_db
def test_values_are_kept_per_namespace_and_come_back_as_they_were() -> None:
    value = {"b": [1, 2.5, None, "é\u0000"], "a": 2**60}
    assert kv.set(namespace=NS, key="k", value=value) == {"version": 1}
    assert kv.set(namespace=NS, key="k", value=value) == {"version": 2}
    assert kv.get(namespace=NS, key="k") == value
    assert kv.get(namespace="shared", key="k", default="none") == "none"
    assert kv.delete(namespace=NS, key="k") == {"deleted": True}
    assert kv.delete(namespace=NS, key="k") == {"deleted": False}
    assert kv.get(namespace=NS, key="k") is None


@pytest.mark.django_db
def test_a_repeated_write_changes_nothing_and_answers_the_same() -> None:
    assert [kv.increment(namespace=NS, key="n", by=5, idempotency_key="r:s:1") for _ in range(3)] == [5, 5, 5]
    assert kv.increment(namespace=NS, key="n", idempotency_key="r:s:2") == 6
    first = kv.set(namespace=NS, key="k", value="one", idempotency_key="r:t:1")
    kv.set(namespace=NS, key="k", value="two")
    assert kv.set(namespace=NS, key="k", value="one", idempotency_key="r:t:1") == first
    assert kv.get(namespace=NS, key="k") == "two"
    assert [kv.delete(namespace=NS, key="k", idempotency_key="r:u:1") for _ in range(2)] == [{"deleted": True}] * 2


@pytest.mark.django_db
def test_a_write_that_fails_leaves_its_key_free() -> None:
    kv.set(namespace=NS, key="n", value="text")
    with pytest.raises(Conflict):
        kv.increment(namespace=NS, key="n", idempotency_key="r:s:1")
    assert not KvWrite.objects.exists()
    kv.set(namespace=NS, key="n", value=1)
    assert kv.increment(namespace=NS, key="n", idempotency_key="r:s:1") == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"key": ""}, BadInput),
        ({"key": "k" * 201}, BadInput),
        ({"key": "a\u0000"}, BadInput),
        ({"namespace": "n" * 81}, BadInput),
        ({"value": "x" * 65536}, TooLarge),
        ({"value": float("nan")}, BadInput),
        ({"value": object()}, BadInput),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], error: type[OrchestraError]) -> None:
    with pytest.raises(error):
        kv.set(**{"namespace": NS, "key": "k", "value": 1, **change})


@pytest.mark.django_db
def test_the_largest_key_and_value_fit() -> None:
    kv.set(namespace="n" * 80, key="k" * 200, value="x" * 65534)
    assert len(kv.get(namespace="n" * 80, key="k" * 200)) == 65534


@pytest.mark.django_db
def test_sums_that_cannot_be_kept_are_refused() -> None:
    kv.set(namespace=NS, key="n", value=10**4000)
    with pytest.raises(BadInput):
        kv.increment(namespace=NS, key="n", by=0.5)
    kv.set(namespace=NS, key="f", value=1.7e308)
    with pytest.raises(BadInput):
        kv.increment(namespace=NS, key="f", by=1.7e308)


@pytest.mark.django_db(transaction=True)
def test_increments_at_the_same_time_all_count_and_repeats_do_not() -> None:
    def add(worker: int) -> None:
        try:
            for number in range(10):
                kv.increment(namespace=NS, key="n", idempotency_key=f"{worker % 2}:{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert kv.get(namespace=NS, key="n") == 20
