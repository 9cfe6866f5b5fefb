"""Data purge: exactly the rows that were shown are gone from a real PostgreSQL, or none."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.examples.play import Person, carry_on, output, release, statuses
from tests.families import databases
from tests.families.databases import Database

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
ROWS = """
INSERT INTO orders SELECT n, 'customer ' || n, CASE n % 4 WHEN 0 THEN 'open' ELSE 'closed' END,
  DATE '2019-12-01' + n, n * 1.5 FROM generate_series(1, 60) AS n
"""
OLD = "SELECT count(*) FROM orders WHERE status = 'closed' AND placed_on < '2020-01-01'"


@pytest.fixture
def shop(database: str, postgres_server: Any) -> Database:
    made = databases.postgres_database(postgres_server)
    made.run(
        "DROP TABLE orders",
        "CREATE TABLE orders (id int PRIMARY KEY, customer text, status text, placed_on date, total numeric)",
        ROWS,
    )
    return made


def count(shop: Database, sql: str = "SELECT count(*) FROM orders") -> int:
    return int(shop.run(sql)[0][0])


def test_what_was_shown_is_deleted_once_a_person_has_seen_the_rows(shop: Database) -> None:
    olga, rita = Person("olga", "operator"), Person("rita", "reviewer")
    run = olga.start(release("purge"), before="2020-01-01")
    request = rita.asked(run)
    assert (request["title"], count(shop, OLD)) == ("Delete 23 orders placed before 2020-01-01", 23)
    told = output(run, "doomed")["resource"]["$res"]
    assert f"]({told})" in request["summary"]
    browser = Client()
    browser.force_login(rita.user)
    page = browser.get(f"/approvals/{request['id']}").content.decode()
    assert f'href="/resources/{told[6:]}"' in page, "the file is a click away from the decision"
    file = b"".join(rita.client.get(f"/api/v1/resources/{told[6:]}/content")).decode().splitlines()
    assert (file[0].split(",")[:2], file[1].split(",")[:2], len(file)) == (["id", "customer"], ["1", "customer 1"], 24)
    rita.decide(request, "approve")
    ended = carry_on(run)
    assert (ended.status, ended.output["deleted"]) == ("succeeded", 23), ended.error
    assert (count(shop, OLD), count(shop)) == (0, 37)


@ON_SQLITE
def test_a_no_deletes_nothing(shop: Database) -> None:
    olga, rita = Person("olga", "operator"), Person("rita", "reviewer")
    run = olga.start(release("purge"), before="2020-01-01")
    rita.decide(rita.asked(run), "reject")
    assert (carry_on(run).status, count(shop)) == ("cancelled", 60)


@ON_SQLITE
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET total = 0 WHERE id = 2",
        "UPDATE orders SET status = CASE id WHEN 2 THEN 'open' ELSE 'closed' END WHERE id IN (2, 4)",
    ],
    ids=["another value", "as many, but others"],
)
def test_rows_that_changed_since_they_were_shown_are_all_left_alone(shop: Database, change: str) -> None:
    olga, rita = Person("olga", "operator"), Person("rita", "reviewer")
    run = olga.start(release("purge"), before="2020-01-01")
    request = rita.asked(run)
    shop.run(change)
    rita.decide(request, "approve")
    ended = carry_on(run)
    assert (ended.status, ended.error["class"], ended.error["step"]) == ("failed", "contract", "purge")
    assert (count(shop, OLD), count(shop)) == (23, 60)


@ON_SQLITE
def test_where_nothing_is_old_nobody_is_asked(shop: Database) -> None:
    run = Person("olga", "operator").start(release("purge"), before="2000-01-01")
    ended = carry_on(run)
    assert ended.status == "succeeded", (ended.status, ended.error, statuses(run))
    assert ended.output["deleted"] == 0
    assert statuses(run)["approve"] == "skipped"
