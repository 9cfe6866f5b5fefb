"""Schedules over the API: what is shown, and every verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources.access import Actor
from tests.api.conftest import Caller, call_as
from tests.schedules.conftest import Place

__all__ = ["call_as"]
pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ONE = "/flows/nightly/schedules/schedule"
SIX = "cron: '0 6 * * *', timezone: Europe/Oslo, note: Numbers of the day"


@pytest.fixture
def call(call_as: Callable[[Any], Caller], operator: Actor) -> Callable[..., Any]:
    caller = call_as(operator.user)

    def ask(method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = caller(method, path, body)
        assert answer.status_code == status, answer.content
        return answer.json()

    return ask


def test_a_schedule_is_shown_with_its_next_five_times_in_its_zone_and_in_utc(
    place: Place, call: Callable[..., Any]
) -> None:
    place.release(SIX)
    place.time.now = 1_774_569_600.0  # 2026-03-27T00:00Z: the clocks change on the 29th
    place.keep(place.time.now)
    found = call("GET", ONE)
    assert found["next"] == [
        {"at": "2026-03-27T05:00:00Z", "local": "2026-03-27T06:00:00+01:00"},
        {"at": "2026-03-28T05:00:00Z", "local": "2026-03-28T06:00:00+01:00"},
        {"at": "2026-03-29T04:00:00Z", "local": "2026-03-29T06:00:00+02:00"},
        {"at": "2026-03-30T04:00:00Z", "local": "2026-03-30T06:00:00+02:00"},
        {"at": "2026-03-31T04:00:00Z", "local": "2026-03-31T06:00:00+02:00"},
    ]
    assert (found["flow"], found["name"], found["note"]) == ("nightly", "schedule", "Numbers of the day")
    assert found["last"]["state"] == "missed"
    assert call("GET", "/schedules")["items"] == [found]


def test_the_list_goes_on_where_it_ended_and_can_be_of_one_flow(place: Place, call: Callable[..., Any]) -> None:
    place.release(*(f"name: s{n}, cron: '0 6 * * *'" for n in range(3)))
    first = call("GET", "/schedules?limit=2")
    assert [row["name"] for row in first["items"]] == ["s0", "s1"]
    rest = call("GET", f"/schedules?limit=2&cursor={first['next_cursor']}")
    assert ([row["name"] for row in rest["items"]], rest["next_cursor"]) == (["s2"], None)
    assert call("GET", "/schedules?flow=other")["items"] == []


def test_pause_resume_start_now_and_what_came_of_it(place: Place, call: Callable[..., Any]) -> None:
    place.release(SIX)
    assert call("POST", ONE + "/pause", {"note": "Down."})["paused"]["note"] == "Down."
    assert call("POST", ONE + "/pause", {}, 409)["error"]["code"] == "already_paused"
    assert call("POST", ONE + "/resume")["paused"] is None
    assert call("POST", ONE + "/resume", None, 409)["error"]["code"] == "not_paused"
    started = call("POST", ONE + "/trigger", {"idempotency_key": "a"})
    assert started["state"] == "started"
    assert call("POST", ONE + "/trigger", {"idempotency_key": "a"}) == started
    assert call("POST", ONE + "/trigger", None, 409)["error"]["code"] == "overlap"
    assert call("GET", ONE + "/times")["items"] == [started]


def test_all_times_of_a_schedule_are_read_page_by_page(place: Place, call: Callable[..., Any]) -> None:
    place.release("cron: '0 * * * *', catchup: 1h")
    place.keep("2026-03-01T03:30")
    for hour in range(4, 9):
        place.keep(f"2026-03-01T0{hour}:00")
    found: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = call("GET", f"{ONE}/times?limit=3{cursor and f'&cursor={cursor}'}")
        found += [(row["due_at"][11:13], row["state"]) for row in page["items"]]
        cursor = page["next_cursor"]
    assert found == [*((f"0{hour}", "skipped") for hour in range(8, 3, -1)), ("03", "started"), ("02", "missed")]
    assert [row["due_at"][11:13] for row in call("GET", ONE + "/times?state=missed")["items"]] == ["02"]
    assert call("GET", ONE + "/times?state=lost", None, 422)["error"]["code"] == "invalid_request"
    assert call("GET", ONE + "/times?cursor=x", None, 422)["error"]["code"] == "bad_cursor"


def test_a_backfill_is_previewed_started_and_given_up(place: Place, call: Callable[..., Any]) -> None:
    place.release(SIX)
    span = {"from": "2026-02-01T00:00:00Z", "to": "2026-02-03T05:00:00Z"}
    path = f"{ONE}/backfill?from={span['from']}&to={span['to']}"
    preview = call("GET", path)
    assert (preview["total"], preview["starts"]) == (3, 3)
    assert preview["times"][0] == {
        "at": "2026-02-01T05:00:00Z",
        "local": "2026-02-01T06:00:00+01:00",
        "state": "new",
        "run": None,
        "starts": True,
    }
    assert call("POST", ONE + "/backfill", span) == {"times": 3}
    assert call("POST", ONE + "/backfill", span, 409)["error"]["code"] == "nothing_to_start"
    place.keep(place.time.now)
    states = [(row["state"], row["starts"]) for row in call("GET", path)["times"]]
    assert states == [("started", False), ("waiting", False), ("waiting", False)]
    assert call("POST", ONE + "/drop") == {"times": 2}
    assert call("POST", ONE + "/drop", None, 409)["error"]["code"] == "nothing_waits"


@pytest.mark.parametrize(
    "span", [{}, {"from": "2026-02-30T00:00Z", "to": "2026-03-01T00:00Z"}, {"from": "0", "to": "1"}]
)
def test_a_range_that_is_none_is_refused(place: Place, call: Callable[..., Any], span: dict[str, str]) -> None:
    place.release(SIX)
    assert call("POST", ONE + "/backfill", span, 422)["error"]["code"] == "invalid_request"


def test_who_may_not_see_the_flow_sees_no_schedule(
    place: Place, call_as: Callable[[Any], Caller], person: Callable[..., Any]
) -> None:
    place.release(SIX)
    other = call_as(person("otto", "operator", "elsewhere"))
    assert other("GET", "/schedules").json()["items"] == []
    assert other("GET", ONE).status_code == 404
    viewer = call_as(person("vera", "viewer", "team"))
    assert viewer("GET", ONE).status_code == 200
    assert viewer("POST", ONE + "/pause", {}).status_code == 403
