"""The audit log on its page and in the API: filters, one entry with what changed, cursors, and who may read."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from resources.models import AuditEntry
from resources.trail import detail
from tests.api.conftest import Caller
from tests.audit.conftest import note, tamper

pytestmark = pytest.mark.db_matrix
FILTERS = [
    ("", [6, 5, 4, 3, 2, 1]),
    ("actor=retention", [5]),
    ("action=flow.moved", [6]),
    ("action=flow.", [6, 1]),
    ("object_type=connection", [3, 2]),
    ("object_type=flow&object_id=greet", [6, 1]),
    ("address=192.0.2", [6, 3, 2, 1]),
    ("address=2001:db8::7", [4]),
    ("q=B.EXAMPLE", [2]),
    ("q=upkeep+%22tonight%22", [3]),
    ("q=GREE", [6, 1]),
    ("q=%25", []),
    ("actor=ana&q=folder&action=flow.moved", [6]),
    ("actor=nobody", []),
]


def seqs(answer: Any) -> list[int]:
    return [item["seq"] for item in answer.json()["items"]]


@pytest.fixture
def root(log: list[AuditEntry], api_of: Callable[[str], Caller]) -> Callable[[str], Any]:
    """Reads the six of the log; the token's own entry is left out."""
    call = api_of("root")
    return lambda query: call("GET", f"/audit?{query}")


@pytest.mark.parametrize(("query", "expected"), FILTERS)
def test_filters_find_the_same_on_the_page_and_in_the_api(
    root: Callable[[str], Any], client_of: Callable[[str], Client], query: str, expected: list[int]
) -> None:
    assert [seq for seq in seqs(root(query)) if seq <= 6] == expected
    page = client_of("root").get(f"/audit?{query}").content.decode()
    assert [n for n in range(6, 0, -1) if f'href="/audit/{n}"' in page] == expected
    assert ("No entries match" in page) == (expected == [])


def test_times_bound_what_is_found(root: Callable[[str], Any]) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    assert seqs(root(f"since={now}")) == [] and len(seqs(root(f"before={now}"))) == 7
    assert root("since=yesterday").json()["error"]["details"][0]["path"] == "since"


def test_pages_follow_each_other_without_a_gap_while_entries_come(root: Callable[[str], Any]) -> None:
    first = root("limit=3").json()
    note("flow.moved", "late")
    second = root(f"limit=3&cursor={first['next_cursor']}").json()
    third = root(f"limit=3&cursor={second['next_cursor']}").json()
    assert [i["seq"] for page in (first, second, third) for i in page["items"]] == [7, 6, 5, 4, 3, 2, 1]
    assert third["next_cursor"] is None
    assert root("cursor=nonsense").json()["error"]["code"] == "bad_cursor"


def test_the_page_goes_on_to_older_entries_with_its_filter(client_of: Callable[[str], Client], db: None) -> None:
    for n in range(60):
        note("flow.moved", f"f{n}")
    client = client_of("root")
    page = client.get("/audit?actor=ana").content.decode()
    assert page.count("data-item") == 50 and "Older entries" in page
    older = html.unescape(page.split('rel="next"')[0].rpartition('href="')[2].rstrip('" '))
    following = client.get(f"/audit{older}").content.decode()
    assert following.count("data-item") == 10 and "Newest" in following and "Older entries" not in following
    assert client.get("/audit?cursor=nonsense").status_code == 422


def test_one_entry_says_who_when_from_where_what_changed_and_why(
    log: list[AuditEntry], client_of: Callable[[str], Client], api_of: Callable[[str], Caller]
) -> None:
    client = client_of("root")
    page = client.get("/audit/2").content.decode()
    for shown in ("ana", "192.0.2.7", "connection.updated", "/connections/ci/edit", "https://a.example",
                  "https://b.example", "retries", log[1].hash,
                  log[0].hash, 'href="/audit/3"', "Nobody said"):  # fmt: skip
        assert shown in page, shown
    assert "upkeep &quot;tonight&quot;" in client.get("/audit/3").content.decode()
    entry = api_of("root")("GET", "/audit/3").json()
    assert entry["data"]["reason"] == 'upkeep "tonight"' and entry["intact"] is True and entry["address"] == "192.0.2.7"
    assert client.get("/audit/99").status_code == 404
    assert client.get("/audit/99999999999999999999").status_code == 404


def test_what_people_wrote_is_shown_as_text(client_of: Callable[[str], Client], db: None) -> None:
    note("flow.moved", "<script>x</script>", reason="<img src=x>", before={"<b>": "<i>"}, after={})
    for path in ("/audit", "/audit/1"):
        page = client_of("root").get(path).content.decode()
        assert not [bad for bad in ("<script>x", "<img", "<b><", "<i>") if bad in page.partition("<main")[2]]


BROKEN = [
    ("UPDATE resources_auditentry SET actor = 'mallory' WHERE seq = 6", "Entry 6 is not what was written"),
    ("DELETE FROM resources_auditentry WHERE seq > 4", "ends at 4, but 6"),
    ("DELETE FROM resources_audithead", "head row is missing"),
    ("UPDATE resources_audithead SET hash = 'x'", "not the one the head names"),
]


@pytest.mark.parametrize(("statement", "said"), BROKEN)
def test_a_broken_log_says_so_above_the_list_and_in_the_check(
    log: list[AuditEntry], client_of: Callable[[str], Client], statement: str, said: str
) -> None:
    client = client_of("root")
    assert "not what was written" not in client.get("/audit").content.decode()
    tamper(statement)
    assert said in client.get("/audit").content.decode()
    check = client.get("/audit/check").content.decode()
    assert "The audit log was changed" in check
    assert client.get("/api/v1/audit/verification").json()["whole"] is False


def test_a_missing_entry_shows_in_the_check_of_the_whole(
    log: list[AuditEntry], client_of: Callable[[str], Client]
) -> None:
    client = client_of("root")
    whole = client.get("/api/v1/audit/verification").json()
    assert whole == {"whole": True, "seq": 6, "hash": log[-1].hash, "findings": []}
    assert "The audit log is whole" in client.get("/audit/check").content.decode()
    tamper("DELETE FROM resources_auditentry WHERE seq = 3")
    assert client.get("/api/v1/audit/verification").json()["findings"][0]["kind"] == "missing"
    other = client.get(f"/api/v1/audit/verification?anchor=6:{'0' * 64}").json()
    assert [f["kind"] for f in other["findings"]] == ["missing", "edited"]
    assert client.get("/api/v1/audit/verification?anchor=x").json()["error"]["details"][0]["path"] == "anchor"


PATHS = ("/audit", "/audit/1", "/audit/check", "/audit/export.csv", "/api/v1/audit", "/api/v1/audit/1",
         "/api/v1/audit/verification", "/api/v1/audit/export")  # fmt: skip


@pytest.mark.parametrize("name", ["vera", "oscar", "ada"])
def test_only_admins_of_everything_read_it(
    log: list[AuditEntry], client_of: Callable[[str], Client], name: str
) -> None:
    client = client_of(name)
    assert {path: client.get(path).status_code for path in PATHS} == dict.fromkeys(PATHS, 403)
    assert 'href="/audit"' not in client.get("/runs").content.decode()
    assert 'href="/audit"' in client_of("root").get("/runs").content.decode()


def test_an_empty_log_says_what_will_be_there(client_of: Callable[[str], Client]) -> None:
    assert "Nothing was changed yet" in client_of("root").get("/audit").content.decode()


LEAF: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, "", "x", []])
JSON = st.recursive(LEAF, lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_leaves=5)


@given(JSON, JSON)
def test_something_is_shown_exactly_when_something_changed(before: Any, after: Any) -> None:
    assert bool(detail.changes({"before": before, "after": after})) == _differ(before, after)


def _differ(before: Any, after: Any) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() != after.keys() or any(_differ(before[k], after[k]) for k in before)
    return type(before) is not type(after) or bool(before != after)


CHANGES = [
    ({}, []),
    ({"before": "closed"}, [("", "closed", None)]),
    ({"before": {"a": 1}}, [("a", 1, None)]),
    ({"before": {"a": {"b": 1, "c": 2}}, "after": {"a": {"b": 3, "c": 2}}}, [("a.b", 1, 3)]),
    ({"before": {"a": [1]}, "after": {"a": [1, 2]}}, [("a", [1], [1, 2])]),
    ({"before": {"a": 1}, "after": {"a": True}}, [("a", 1, True)]),
    ("text", []),
]


@pytest.mark.parametrize(("data", "expected"), CHANGES)
def test_changes_name_the_leaves(data: Any, expected: list[Any]) -> None:
    assert [(c.path, c.before, c.after) for c in detail.changes(data)] == expected


@pytest.mark.parametrize(
    ("data", "why", "rest"),
    [
        ({"reason": "upkeep", "n": 1}, "upkeep", {"n": 1}),
        ({"comment": "Errors are too high.", "n": 1}, "Errors are too high.", {"n": 1}),
        ({"reason": "asked to", "comment": "said"}, "asked to", {"comment": "said"}),
        ({"reason": "", "comment": None, "n": 1}, "", {"comment": None, "n": 1}),
        (["reason"], "", ["reason"]),
    ],
)
def test_why_is_what_a_person_said_also_where_it_is_the_comment_of_a_decision(data: Any, why: str, rest: Any) -> None:
    assert (detail.reason(data), detail.rest(data)) == (why, rest)
