"""The pages of schedules: what they show, every button, empty and broken, and the same in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from resources.access import Actor
from runs.models import Run
from runs.schedules import actions
from runs.schedules.models import Schedule
from tests.schedules.conftest import Place, at

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ONE = "/flows/nightly/schedules/schedule"
SIX = "cron: '0 6 * * *', timezone: Europe/Oslo, note: Numbers of the day"
HOURLY = "cron: '0 * * * *'"


@pytest.fixture
def signed_in(operator: Actor) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def press(client: Client, verb: str, **posted: str) -> str:
    """What the page says after a button."""
    answer = client.post(f"{ONE}/{verb}", posted, follow=True)
    assert answer.status_code == 200
    return " ".join(str(m) for m in answer.context["messages"])


def test_no_schedules_say_what_would_be_there(signed_in: Client) -> None:
    assert "No schedules yet" in text_of(signed_in, "/schedules")


def test_the_list_shows_state_next_and_last_of_each(place: Place, signed_in: Client, operator: Actor) -> None:
    place.release(SIX, "name: hourly, cron: '0 * * * *'", "name: rests, cron: '0 7 * * *'")
    actions.pause_schedule(actor=operator, slug="nightly", name="rests", note="Holidays")
    place.keep("2026-03-01T01:00")
    page = text_of(signed_in, "/schedules")
    for said in ("nightly / hourly", "Europe/Oslo", "Numbers of the day", "Queued", "Paused Holidays"):
        assert said in page
    assert "Sun 1 Mar 2026, 06:00 CET 05:00 UTC" in page
    assert "Sun 1 Mar 2026, 02:00 UTC" in page


def test_the_list_is_fetched_again_as_a_fragment(place: Place, signed_in: Client) -> None:
    place.release(SIX)
    answer = signed_in.get("/schedules", headers={"HX-Target": "schedule-list"})
    assert answer.content.decode().lstrip().startswith('<div id="schedule-list"')
    answer = signed_in.get(ONE, headers={"HX-Target": "schedule-live"})
    assert answer.content.decode().lstrip().startswith('<div class="stack schedule" id="schedule-live"')


def test_a_flows_page_shows_its_schedules_with_five_next_times(place: Place, signed_in: Client) -> None:
    place.release(SIX)
    page = text_of(signed_in, "/flows/nightly")
    assert [f"{day} Mar 2026, 06:00 CET" in page for day in range(1, 7)] == [True] * 5 + [False]
    assert "0 6 * * * in Europe/Oslo" in page


def test_a_schedules_page_shows_what_came_of_its_times(place: Place, signed_in: Client) -> None:
    place.release(HOURLY + ", catchup: 1h")
    place.keep("2026-03-01T03:30")
    place.keep("2026-03-01T04:00")
    page = text_of(signed_in, ONE)
    assert "Skipped for Sun 1 Mar 2026, 04:00 UTC" in page and "An earlier run had not ended." in page
    assert "Queued for Sun 1 Mar 2026, 03:00 UTC" in page
    assert "Missed for Sun 1 Mar 2026, 02:00 UTC" in page and "2 due times passed" in page


def test_what_was_missed_and_skipped_is_found_among_many_times(place: Place, signed_in: Client) -> None:
    place.release("cron: '* * * * *', catchup: 1m")
    place.keep("2026-03-01T03:30")
    for minute in range(31, 60):
        place.keep(f"2026-03-01T03:{minute}")
    page = text_of(signed_in, ONE)
    assert page.count("Skipped for") == 20 and "Missed for" not in page
    older = signed_in.get(ONE + "?" + signed_in.get(ONE).context["older"])
    due = [seen["due"]["local"] for seen in older.context["times"]]
    assert due[0].endswith("03:39 UTC") and due[-1].endswith("03:28 UTC") and not older.context["older"]
    assert f'data-src="{ONE}?cursor=' in older.content.decode(), "a refresh shows the same times"
    missed = text_of(signed_in, ONE + "?state=missed")
    assert "Missed for Sun 1 Mar 2026, 03:28 UTC" in missed and "Skipped for" not in missed
    assert "None of them: refused." in text_of(signed_in, ONE + "?state=refused")
    assert signed_in.get(ONE + "?cursor=nonsense").status_code == 422


def test_every_button_does_what_it_says(place: Place, signed_in: Client) -> None:
    place.release(HOURLY)
    assert press(signed_in, "pause", note="Down.") == "The schedule is paused."
    page = text_of(signed_in, ONE)
    assert "by olga" in page and "Down. Nothing starts by the clock." in page
    assert "Next times, were it not paused" in page
    assert press(signed_in, "pause") == "The schedule schedule is paused already."
    assert press(signed_in, "resume") == "The schedule goes on with its next time."
    assert press(signed_in, "trigger", key="a") == press(signed_in, "trigger", key="a") == "Started."
    assert Run.objects.count() == 1
    assert press(signed_in, "trigger", key="b").startswith("A run of this schedule still goes")
    assert signed_in.post(f"{ONE}/explode").status_code == 404
    assert signed_in.get(f"{ONE}/pause").status_code == 405


def test_a_backfill_is_seen_before_it_starts(place: Place, signed_in: Client) -> None:
    place.release(SIX)
    asked = f"{ONE}?from=2026-02-01T06:00&to=2026-02-03T06:00"
    answer = signed_in.get(asked)
    assert "3 of 3 due times will start" in re.sub("<[^>]+>", "", answer.content.decode())
    assert Schedule.objects.get().waiting == 0
    span = {"start": f"{answer.context['start']:.0f}", "end": f"{answer.context['end']:.0f}"}
    assert float(span["start"]) == at("2026-02-01T05:00")
    assert press(signed_in, "backfill", **span) == "3 times of the past wait for a turn."
    place.keep(place.time.now)
    page = text_of(signed_in, asked)
    assert "All 3 due times of this range have runs or wait for one." in page
    assert "2 times wait for their turn." in page
    assert "backfill, olga" in page
    assert press(signed_in, "drop") == "2 waiting times were given up."
    assert press(signed_in, "backfill", start="x", end="1") == "Give both ends of the range."


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ("from=2026-02-01T06:00", "Give both ends"),
        ("from=x&to=y", "Give both ends"),
        ("from=2026-02-02T00:00&to=2026-02-01T00:00", "ends before it begins"),
        ("from=2026-02-02T00:00&to=2027-02-01T00:00", "ends in the future"),
    ],
)
def test_a_range_that_cannot_be_is_told_at_the_form(place: Place, signed_in: Client, span: str, said: str) -> None:
    place.release(SIX)
    assert said in text_of(signed_in, f"{ONE}?{span}", 422)


def test_a_broken_schedule_says_so(place: Place, signed_in: Client) -> None:
    place.release(HOURLY)
    Schedule.objects.update(timezone="Gone/Zone")
    place.keep("2026-03-01T01:00")
    page = text_of(signed_in, ONE)
    assert "This schedule cannot be worked on." in page and "no time zone &#x27;Gone/Zone&#x27;" in page
    assert "Broken" in text_of(signed_in, "/schedules")
    assert "None can be worked out." in page


def test_who_may_only_look_sees_no_buttons_and_who_may_not_sees_nothing(
    place: Place, person: Callable[..., Any]
) -> None:
    place.release(HOURLY)
    viewer, stranger = Client(), Client()
    viewer.force_login(person("vera", "viewer", "team"))
    stranger.force_login(person("otto", "operator", "elsewhere"))
    page = text_of(viewer, ONE)
    assert "need the role operator" in page
    assert "Backfill" not in page and "Pause…" not in page
    assert press(viewer, "pause").startswith("This needs the role operator")
    assert stranger.get(ONE).status_code == stranger.post(f"{ONE}/pause").status_code == 404
    assert "No schedules yet" in text_of(stranger, "/schedules")


def test_the_list_takes_the_same_number_of_queries_for_many(
    place: Place, signed_in: Client, django_assert_max_num_queries: Any
) -> None:
    place.release(*(f"name: s{n}, cron: '0 * * * *'" for n in range(15)))
    place.keep("2026-03-01T01:00")
    signed_in.get("/schedules")
    with django_assert_max_num_queries(9):
        signed_in.get("/schedules")
