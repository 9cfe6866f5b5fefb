"""The page of a connection's limits in all its states: right, accessible, within the policy, on wide and phone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from resources.limits.book import HALF_OPEN, OPEN, Book
from resources.limits.ledger import book_json
from resources.models import AuditEntry, Connection, ConnectionLimit, Permit
from runs.models import Work
from tests.pages import seed
from tests.pages.test_browser import axe, lively, visit

__all__ = ["lively", "visit"]
LIMITS: dict[str, Any] = {
    "concurrency": 4,
    "rate": {"count": 30, "per": "minute", "burst": 2},
    "breaker": {"failures": 3},
    "adaptive": {"min": 1, "latency": 2.0},
}
URL = {"base_url": "https://ci.example.com"}


def limited(book: Book | None = None, **limits: Any) -> Connection:
    row = Connection.objects.create(name="ci", kind="http", settings={**URL, "limits": limits} if limits else URL)
    if book is not None:
        ConnectionLimit.objects.create(connection=row, book=book_json(book))
    return row


def use(row: Connection, run: str, *, taken: int = 2, held: int = 3) -> None:
    now = time.time()
    for n in range(taken + held):
        state = (
            {"taken_at": now - 3, "attempt": 1, "owner": "w"} if n < taken else {"why": "connection ci: 4 at a time"}
        )
        Permit.objects.create(connection=row, run_id=run, step="build", item=n, since=now - 60 + n, **state)


def page_of(client: Client, path: str = "/connections/ci/limits") -> str:
    response = client.get(path)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.fixture
def run(place: dict[str, Any]) -> str:
    return str(place["waiting"].run.pk)


@pytest.fixture
def admin(sign_in: Callable[[str], Client], place: dict[str, Any]) -> Client:
    place["people"]["root"] = seed.person("root", "Root", ("admin",), folder="")
    return sign_in("root")


def test_a_connection_without_limits_says_so(admin: Client) -> None:
    limited()
    assert "Nothing is limited" in page_of(admin)
    assert "Nothing is limited" in page_of(admin, "/connections/ci/edit")


def test_it_shows_what_is_used_and_which_steps_wait_and_why(admin: Client, run: str) -> None:
    row = limited(Book(tokens=1.5, refilled_at=time.time(), adapted=3.0, latency=0.25), **LIMITS)
    use(row, run)
    page = page_of(admin)
    for shown in ("2 of 3", "3 of at most 4", "0.25 s", "30 a minute", "Circuit closed", f"/runs/{run}?step=build",
                  "build[4]", "connection ci: 4 at a time"):  # fmt: skip
        assert shown in page, shown
    assert "2 of 3 in use" in page_of(admin, "/connections") and "3 held" in page_of(admin, "/connections")


@pytest.mark.parametrize(
    ("book", "shown"),
    [
        (Book(breaker=OPEN, opened_at=1.7e9, probe_at=4e9), "Too many attempts failed"),
        (Book(breaker=OPEN, opened_at=1.7e9, by="ada", reason="upkeep"), "ada opened it by hand: “upkeep”"),
        (Book(breaker=HALF_OPEN, opened_at=1.7e9, probe_at=1.7e9), "when 1 probe succeeds, everything"),
        (Book(shut_until=4e9), "asked for silence until"),
    ],
)
def test_it_says_what_keeps_everybody_out(admin: Client, book: Book, shown: str) -> None:
    limited(book, **LIMITS)
    assert shown in page_of(admin)


def test_what_waits_behind_an_open_circuit_says_so_whatever_held_it_before(admin: Client, run: str) -> None:
    opened = Book(breaker=OPEN, opened_at=1.7e9, probe_at=4e9, tokens=-0.3, refilled_at=4e9)
    use(limited(opened, **LIMITS), run)
    page = page_of(admin)
    assert page.count("connection ci: circuit open") == 3
    assert "connection ci: 4 at a time" not in page
    assert "-0.3" not in page and "none left; some that are to come are promised" in page


def test_an_admin_sets_limits_and_what_is_wrong_is_said_at_its_field(admin: Client) -> None:
    limited()
    path = "/connections/ci/limits"
    wrong = admin.post(path, {"adaptive": "on", "on_open": "queue", "per": "second"})
    assert wrong.status_code == 422 and "Adapting needs a concurrency" in wrong.content.decode()
    form = {"concurrency": "3", "count": "5", "per": "minute", "burst": "2", "breaker": "on", "failures": "4",
            "window": "30", "ratio": "0.25", "open_for": "10", "half_open": "2", "on_open": "fail"}  # fmt: skip
    assert admin.post(path, form).status_code == 302
    row = Connection.objects.get(name="ci")
    assert row.settings["limits"]["rate"] == {"count": 5, "per": "minute", "burst": 2}
    assert row.settings["limits"]["breaker"]["on_open"] == "fail" and row.version == 1
    page = page_of(admin)
    assert 'value="0.25"' in page and 'value="3"' in page
    admin.post("/connections/ci/edit", {"base_url": URL["base_url"] + "/v2", "auth": "none"})
    assert Connection.objects.get(name="ci").settings["limits"]["concurrency"] == 3, "the other form keeps them"
    admin.post(path, {"per": "second", "on_open": "queue"})
    assert not Connection.objects.get(name="ci").settings.get("limits")


def test_the_breaker_is_opened_and_closed_with_a_reason(admin: Client) -> None:
    limited()
    refused = admin.post("/connections/ci/circuit/open", {"reason": " "}, follow=True)
    assert "Say why" in refused.content.decode() and not ConnectionLimit.objects.exists()
    admin.post("/connections/ci/circuit/open", {"reason": "upkeep"})
    assert "root opened it by hand: “upkeep”" in page_of(admin)
    assert "Circuit open" in page_of(admin, "/connections")
    admin.post("/connections/ci/circuit/close", {"reason": "done"})
    assert "Nothing is limited" in page_of(admin)
    entries = AuditEntry.objects.filter(action__startswith="circuit.").values_list("action", flat=True)
    assert sorted(entries) == ["circuit.closed", "circuit.opened"]


def test_others_see_the_state_but_neither_whose_steps_nor_the_form(sign_in: Callable[[str], Client], run: str) -> None:
    use(limited(**LIMITS), run)
    client = sign_in("ana")
    page = page_of(client)
    assert "2 of 4" in page and run not in page and "Save the limits" not in page
    for path, data in (("limits", {"concurrency": "9"}), ("circuit/open", {"reason": "x"})):
        assert client.post(f"/connections/ci/{path}", data).status_code == 403


def test_the_run_says_what_holds_its_step(sign_in: Callable[[str], Client], run: str) -> None:
    Work.objects.create(run_id=run, kind="step", step="tests", held_by="connection ci: 2 at a time")
    page = page_of(sign_in("ana"), f"/runs/{run}?step=tests")
    assert "Held back by connection ci: 2 at a time." in page


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("phone", "dark")])
def test_every_state_is_accessible_fits_and_keeps_the_policy(
    size: str, theme: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    run, problems = str(lively["waiting"].run.pk), []
    row = limited(Book(tokens=1.5, refilled_at=time.time(), adapted=3.0, latency=0.25), **LIMITS)
    Work.objects.create(run_id=run, kind="step", step="tests", held_by="connection ci: 2 at a time")
    lively["people"]["root"] = seed.person("root", "Root", ("admin",), folder="")
    page = visit("/connections", name="root", size=size, theme=theme)
    states = {
        "full": None,
        "open": Book(breaker=OPEN, opened_at=1.7e9, probe_at=4e9),
        "by hand": Book(breaker=OPEN, opened_at=1.7e9, by="ada", reason="upkeep", shut_until=4e9),
        "half-open": Book(breaker=HALF_OPEN, opened_at=1.7e9, probe_at=1.7e9),
    }
    use(row, run)
    paths = ("/connections/ci/limits", "/connections", "/connections/ci/edit", f"/runs/{run}?step=tests")
    for state, book in states.items():
        if book is not None:
            ConnectionLimit.objects.update(book=book_json(book))
        for path in paths if state == "full" else paths[:2]:
            page.goto(live_server.url + path)
            problems += [f"{state} {path}: {p}" for p in axe(page)]
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                problems.append(f"{state} {path}: wider than the screen")
    assert problems + page.complaints == []
