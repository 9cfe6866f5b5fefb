"""Key-values: written once per idempotency key, bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from resources import kv
from resources.errors import BadInput, Conflict, OrchestraError, TooLarge
from resources.models import KvEntry, KvWrite

pytestmark = pytest.mark.db_matrix

NS = "flow:demo"
NOW = 1_000_000.0


@pytest.mark.django_db
def test_values_are_kept_per_namespace_and_come_back_as_they_were() -> None:
    value = {"b": [1, 2.5, None, "é\u0000"], "a": 2**60}
    assert kv.set(now=NOW, namespace=NS, key="k", value=value) == {"version": 1}
    assert kv.set(now=NOW, namespace=NS, key="k", value=value) == {"version": 2}
    assert kv.get(now=NOW, namespace=NS, key="k") == value
    assert kv.get(now=NOW, namespace="shared", key="k", default="none") == "none"
    assert kv.delete(now=NOW, namespace=NS, key="k") == {"deleted": True}
    assert kv.delete(now=NOW, namespace=NS, key="k") == {"deleted": False}
    assert kv.get(now=NOW, namespace=NS, key="k") is None


@pytest.mark.django_db
def test_a_repeated_write_changes_nothing_and_answers_the_same() -> None:
    assert [kv.increment(now=NOW, namespace=NS, key="n", by=5, idempotency_key="r:s:1") for _ in range(3)] == [5, 5, 5]
    assert kv.increment(now=NOW, namespace=NS, key="n", idempotency_key="r:s:2") == 6
    first = kv.set(now=NOW, namespace=NS, key="k", value="one", idempotency_key="r:t:1")
    kv.set(now=NOW, namespace=NS, key="k", value="two")
    assert kv.set(now=NOW, namespace=NS, key="k", value="one", idempotency_key="r:t:1") == first
    assert kv.get(now=NOW, namespace=NS, key="k") == "two"
    assert [kv.delete(now=NOW, namespace=NS, key="k", idempotency_key="r:u:1") for _ in range(2)] == [
        {"deleted": True}
    ] * 2


@pytest.mark.django_db
def test_a_write_that_fails_leaves_its_key_free() -> None:
    kv.set(now=NOW, namespace=NS, key="n", value="text")
    with pytest.raises(Conflict):
        kv.increment(now=NOW, namespace=NS, key="n", idempotency_key="r:s:1")
    assert not KvWrite.objects.exists()
    kv.set(now=NOW, namespace=NS, key="n", value=1)
    assert kv.increment(now=NOW, namespace=NS, key="n", idempotency_key="r:s:1") == 2


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
        kv.set(**{"now": NOW, "namespace": NS, "key": "k", "value": 1, **change})


@pytest.mark.django_db
def test_the_largest_key_and_value_fit() -> None:
    kv.set(now=NOW, namespace="n" * 80, key="k" * 200, value="x" * 65534)
    assert len(kv.get(now=NOW, namespace="n" * 80, key="k" * 200)) == 65534


@pytest.mark.django_db
def test_sums_that_cannot_be_kept_are_refused() -> None:
    kv.set(now=NOW, namespace=NS, key="n", value=10**4000)
    with pytest.raises(BadInput):
        kv.increment(now=NOW, namespace=NS, key="n", by=0.5)
    kv.set(now=NOW, namespace=NS, key="f", value=1.7e308)
    with pytest.raises(BadInput):
        kv.increment(now=NOW, namespace=NS, key="f", by=1.7e308)


@pytest.mark.django_db(transaction=True)
def test_increments_at_the_same_time_all_count_and_repeats_do_not() -> None:
    def add(worker: int) -> None:
        try:
            for number in range(10):
                kv.increment(now=NOW, namespace=NS, key="n", idempotency_key=f"{worker % 2}:{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert kv.get(now=NOW, namespace=NS, key="n") == 20


def _at(now: float, **more: Any) -> dict[str, Any]:
    return {"namespace": NS, "key": "k", "now": now, **more}


@pytest.mark.django_db
def test_a_value_is_gone_when_its_time_is_up_and_removed_later() -> None:
    kv.set(**_at(NOW, value=1, ttl=10))
    assert kv.get(**_at(NOW + 9.9)) == 1
    assert kv.get(**_at(NOW + 10), default="gone") == "gone"
    assert kv.listed(namespace=NS, prefix="", now=NOW + 10) == ([], "")
    assert kv.delete(**_at(NOW + 10)) == {"deleted": False}
    kv.set(**_at(NOW, value=1, ttl=10))
    assert (kv.forget(NOW + 9), kv.forget(NOW + 10)) == (0, 1)


@pytest.mark.django_db
def test_a_write_after_expiry_starts_anew_and_its_version_is_never_one_seen_before() -> None:
    kv.set(**_at(NOW, value=["old"], ttl=10))
    assert kv.append(**_at(NOW + 20, value="new")) == {"length": 1, "version": 2}
    assert kv.get(**_at(NOW + 1e9)) == ["new"]


@pytest.mark.django_db
def test_a_window_s_counter_ends_when_its_first_count_is_old() -> None:
    assert [kv.increment(**_at(NOW + n, ttl=10)) for n in (0, 5, 9, 10, 12)] == [1, 2, 3, 1, 2]


@pytest.mark.django_db
@pytest.mark.parametrize("ttl", [0, -1, float("nan"), 1e12])
def test_a_time_to_live_that_makes_no_sense_is_refused(ttl: float) -> None:
    with pytest.raises(BadInput):
        kv.set(**_at(NOW, value=1, ttl=ttl))


@pytest.mark.django_db
def test_compare_and_set_writes_only_over_the_version_it_expects() -> None:
    def swap(expect: int, value: Any, key: str) -> Any:
        return kv.compare_and_set(**_at(NOW, value=value, expect=expect, idempotency_key=key))

    assert swap(1, "no", "a") == {"swapped": False, "version": 0, "value": None}
    assert not KvEntry.objects.exists()
    assert swap(0, "first", "b") == {"swapped": True, "version": 1, "value": "first"}
    assert swap(0, "no", "c") == {"swapped": False, "version": 1, "value": "first"}
    assert swap(1, "second", "d") == {"swapped": True, "version": 2, "value": "second"}
    assert swap(0, "again", "b") == {"swapped": True, "version": 1, "value": "first"}, "a repeat gets the first answer"
    assert kv.get(**_at(NOW)) == "second"


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_version_of_a_key_that_was_removed_is_never_that_of_its_next_value(how: str) -> None:
    """A lock that somebody held, lost and still believes in is not taken from who has it now."""
    place: Any = {"namespace": NS, "key": "lock"}
    stale = kv.set(**place, value="mine", now=NOW, ttl=10)["version"]
    if how == "deleted":
        assert kv.delete(**place, now=NOW) == {"deleted": True}
    else:
        assert kv.forget(NOW + 20) == 1
    later = NOW + 30
    assert kv.entry(**place, now=later) == (None, 0)
    taken = kv.compare_and_set(**place, value="theirs", expect=0, now=later)
    assert taken["swapped"] and taken["version"] != stale
    assert kv.compare_and_set(**place, value="mine", expect=stale, now=later) == {**taken, "swapped": False}
    assert kv.listed(namespace=NS, prefix="", now=later)[0] == [{"key": "lock", **_of(taken)}]
    assert kv.set(namespace="flow:other", key="lock", value=1, now=later) == {"version": 1}


def _of(taken: Any) -> Any:
    return {"value": taken["value"], "version": taken["version"]}


@pytest.mark.django_db(transaction=True)
def test_of_many_who_compare_and_set_at_once_one_wins() -> None:
    def swap(worker: int) -> bool:
        try:
            return bool(kv.compare_and_set(**_at(NOW, value=worker, expect=0))["swapped"])
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(swap, range(8))) == 1


@pytest.mark.django_db
def test_a_list_grows_to_its_most_and_then_loses_the_oldest() -> None:
    for n in range(5):
        kv.append(**_at(NOW, value=n, most=3))
    assert kv.get(**_at(NOW)) == [2, 3, 4]
    kv.set(**_at(NOW, value={"no": "list"}))
    with pytest.raises(Conflict, match="not a list"):
        kv.append(**_at(NOW, value=1))


@pytest.mark.django_db
def test_a_list_that_would_be_too_large_stays_as_it_is() -> None:
    kv.append(**_at(NOW, value="x" * 40_000))
    with pytest.raises(TooLarge):
        kv.append(**_at(NOW, value="y" * 40_000))
    assert kv.get(**_at(NOW)) == ["x" * 40_000]


@pytest.mark.django_db
def test_keys_are_listed_by_what_they_begin_with_in_one_order_page_by_page() -> None:
    keys = ["a:B", "a:a", "a:é", "a:_", "a:100%", "b", "a", "A:a", "a:😀"]
    for key in keys:
        kv.set(namespace=NS, key=key, value=key, now=NOW)
    kv.set(namespace="other", key="a:x", value=1, now=NOW)
    seen, after = [], ""
    while True:
        page, after = kv.listed(namespace=NS, prefix="a:", now=NOW, after=after, limit=2)
        seen += [entry["key"] for entry in page]
        if not after:
            break
    assert seen == sorted(key for key in keys if key.startswith("a:"))
    assert kv.listed(namespace=NS, prefix="a:100%", now=NOW)[0] == [{"key": "a:100%", "value": "a:100%", "version": 1}]
    assert kv.listed(namespace=NS, prefix="a_", now=NOW)[0] == []


@pytest.mark.django_db
def test_a_page_ends_before_it_is_too_large() -> None:
    for n in range(40):
        kv.set(namespace=NS, key=f"k{n:02}", value="x" * 60_000, now=NOW)
    page, after = kv.listed(namespace=NS, prefix="k", now=NOW, limit=40)
    assert (len(page), after) == (17, "k16")


@pytest.mark.django_db
def test_a_full_namespace_takes_no_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv, "MAX_KEYS", 2)
    for key in ("a", "b"):
        kv.set(namespace=NS, key=key, value=1, now=NOW)
    with pytest.raises(TooLarge, match="2 keys already"):
        kv.set(namespace=NS, key="c", value=1, now=NOW)
    kv.set(namespace=NS, key="a", value=2, now=NOW)
    assert KvEntry.objects.count() == 2
