"""The db family on real servers: what it reads, what it writes, and what it leaves alone."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from flows.steps.base import Done, Fail, Retry
from flows.steps.registry import family
from resources.stop import Stop
from tests.families.attempt import KEY, attempt, error, output, resolve
from tests.families.databases import Database

pytestmark = [pytest.mark.django_db]
UPDATE = "UPDATE orders SET paid = 1 WHERE paid = :paid"


def query(sql: str, **rest: Any) -> Any:
    return output(attempt("db", {"connection": "shop", "query": sql, **rest}))


def write(sql: str, key: str = KEY, **rest: Any) -> Any:
    return attempt("db", {"connection": "shop", "execute": sql, "write": True, **rest}, key=key)


def test_rows_come_as_objects(database: Database) -> None:
    found = query("SELECT id, name FROM orders WHERE paid = :paid ORDER BY id", params={"paid": 0})
    assert found == {
        "columns": ["id", "name"], "rows": [{"id": 2, "name": "bo"}, {"id": 3, "name": "cyd"}], "row_count": 2,
        "truncated": False, "resource": None,
    }  # fmt: skip


@pytest.mark.parametrize("place", ["IN :ids", "IN (:ids)", "in ( :ids )"])
def test_a_list_stands_behind_in(database: Database, place: str) -> None:
    found = query(f"SELECT name FROM orders WHERE id {place} ORDER BY id", params={"ids": [1, 3]})
    assert [row["name"] for row in found["rows"]] == ["anna", "cyd"]


def test_an_empty_list_is_refused_since_sql_has_none(database: Database) -> None:
    failed = attempt(
        "db", {"connection": "shop", "query": "SELECT 1 FROM orders WHERE id IN :ids", "params": {"ids": []}}
    )
    assert error(failed) == "input"


def test_a_value_is_never_part_of_the_statement(database: Database) -> None:
    evil = "'; DROP TABLE orders; --"
    assert query("SELECT name FROM orders WHERE name = :n", params={"n": evil})["rows"] == []
    assert query("SELECT :n AS n", params={"n": evil + '\\" % %s :x'})["rows"] == [{"n": evil + '\\" % %s :x'}]
    assert len(database.names()) == 3


def test_colons_and_percents_in_texts_are_left_alone(database: Database) -> None:
    found = query("SELECT '12:30 :x %s 100%' AS a, :b AS b -- :c it's", params={"b": "v"})
    assert found["rows"] == [{"a": "12:30 :x %s 100%", "b": "v"}]


def test_more_rows_than_asked_for_are_left_out_and_said_so(database: Database) -> None:
    found = query("SELECT id FROM orders ORDER BY id", max_rows=2)
    assert (found["rows"], found["row_count"], found["truncated"]) == ([{"id": 1}, {"id": 2}], 2, True)
    assert query("SELECT id FROM orders", max_rows=3)["truncated"] is False
    assert query("SELECT name FROM orders", max_bytes=20)["truncated"] is True


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE orders SET paid = 1",
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (9, 'x', 1)",
        "CREATE TABLE t (a INTEGER)",
        "DROP TABLE orders",
        "TRUNCATE TABLE orders",
        "SET TRANSACTION READ WRITE",
    ],
)
def test_a_query_changes_nothing(database: Database, sql: str) -> None:
    failed = attempt("db", {"connection": "shop", "query": sql})
    assert isinstance(failed.outcome, Fail), failed.outcome
    assert database.names() == ["anna", "bo", "cyd"]


def test_the_server_itself_refuses_to_change_what_is_read(database: Database) -> None:
    """A select that changes data: only the server can know."""
    sql = {
        "postgres": "SELECT change_all()",
        "mysql": "SELECT change_all()",
        "sqlite": "DELETE FROM orders RETURNING id",
    }[database.kind]
    if database.kind == "postgres":
        database.run(
            "CREATE FUNCTION change_all() RETURNS int LANGUAGE sql AS 'UPDATE orders SET paid = 7 RETURNING 1'"
        )
    elif database.kind == "mysql":
        database.run(
            "CREATE FUNCTION change_all() RETURNS int MODIFIES SQL DATA BEGIN UPDATE orders SET paid = 7; RETURN 1; END"
        )
    failed = attempt("db", {"connection": "shop", "query": sql})
    assert error(failed) == "refused"
    assert "set `write: true`" in failed.stored["message"]
    assert sorted(row[0] for row in database.run("SELECT paid FROM orders")) == [0, 0, 1]


def test_a_write_says_how_many_rows_it_changed(database: Database) -> None:
    assert output(write(UPDATE, params={"paid": 0})) == {
        "changed": 2, "each": [2], "columns": [], "rows": [], "row_count": 0, "truncated": False,
    }  # fmt: skip
    assert database.run("SELECT sum(paid) FROM orders")[0][0] == 3


def test_statements_are_one_transaction(database: Database) -> None:
    given = ["INSERT INTO orders VALUES (4, 'dee', 0)", "INSERT INTO orders VALUES (5, 'anna', 0)"]
    failed = attempt("db", {"connection": "shop", "statements": given, "write": True})
    assert (error(failed), isinstance(failed.outcome, Fail)) == ("input", True)
    assert database.names() == ["anna", "bo", "cyd"]
    done = attempt(
        "db", {"connection": "shop", "statements": [given[0], "DELETE FROM orders WHERE id = 1"], "write": True}
    )
    assert output(done)["each"] == [1, 1]
    assert database.names() == ["bo", "cyd", "dee"]


@pytest.mark.parametrize("bound", [{"expect": {"rows": 1}}, {"max_changed": 1}])
def test_more_changes_than_expected_change_nothing(database: Database, bound: Any) -> None:
    failed = write(UPDATE, params={"paid": 0}, **bound)
    assert error(failed) == "contract"
    assert "2 rows would be changed" in failed.stored["message"]
    assert database.run("SELECT sum(paid) FROM orders")[0][0] == 1
    assert output(write(UPDATE, params={"paid": 0}, expect={"rows": 2}))["changed"] == 2


def test_a_repeated_idempotent_write_does_nothing_and_gives_the_first_output(database: Database) -> None:
    sql = "UPDATE orders SET paid = paid + 1 WHERE id = :id"
    first, again = (write(sql, params={"id": 1}, idempotent=True) for _ in range(2))
    assert first.outcome == again.outcome
    assert isinstance(first.outcome, Done)
    assert database.run("SELECT paid FROM orders WHERE id = 1")[0][0] == 2
    assert "earlier attempt" in again.log[0]
    write(sql, params={"id": 1}, idempotent=True, key="another")
    assert database.run("SELECT paid FROM orders WHERE id = 1")[0][0] == 3


def test_a_failed_idempotent_write_leaves_no_key(database: Database) -> None:
    assert error(write("UPDATE orders SET name = 'bo'", idempotent=True)) == "input"
    assert output(write("UPDATE orders SET paid = 5", idempotent=True))["changed"] == 3


def test_two_attempts_with_one_key_change_once(database: Database) -> None:
    write("UPDATE orders SET paid = 0 WHERE id = 99", idempotent=True, key="makes-the-table")
    other = database.open()
    cursor = other.cursor()
    output_ = '{"changed":1,"each":[1]}'
    cursor.execute(
        f"INSERT INTO orders_keys (idempotency_key, result) VALUES ('{KEY}', '{output_}')".replace(
            "orders_keys", "orchestra_writes"
        )
    )
    threading.Timer(
        0.5, lambda: (other.commit(), other.close())
    ).start() if database.kind != "sqlite" else other.commit()
    done = write("UPDATE orders SET paid = 9", idempotent=True)
    assert output(done) == {"changed": 1, "each": [1]}
    assert database.run("SELECT max(paid) FROM orders")[0][0] == 1


ENDLESS = {
    "postgres": "SELECT pg_sleep(280)",
    "mysql": "SELECT SLEEP(280)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
}


def test_what_takes_too_long_is_ended_by_its_time(database: Database) -> None:
    failed = attempt("db", {"connection": "shop", "query": ENDLESS[database.kind]}, timeout=0.5)
    assert error(failed) == "timeout"
    assert isinstance(failed.outcome, Retry)
    assert failed.outcome.acted is False


def test_a_request_to_stop_ends_the_statement_on_the_server(database: Database) -> None:
    """Else it would take longer than a test may."""
    stop = Stop()
    threading.Timer(0.5, stop.set).start()
    failed = attempt("db", {"connection": "shop", "query": ENDLESS[database.kind]}, timeout=270.0, cancelled=stop)
    assert isinstance(failed.outcome, Retry)
    if database.kind == "postgres":
        assert _gone(
            database, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(280)%' AND pid <> pg_backend_pid()"
        )
    if database.kind == "mysql":
        assert _gone(
            database,
            "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%SLEEP(28%' AND id <> connection_id()",
        )


def _gone(database: Database, sql: str) -> bool:
    end = time.monotonic() + 200
    while database.run(sql) and time.monotonic() < end:
        time.sleep(0.05)
    return not database.run(sql)


def test_a_lock_of_somebody_else_is_waited_for_until_the_time_is_up(database: Database) -> None:
    other = database.open()
    other.cursor().execute("UPDATE orders SET paid = 4 WHERE id = 2")
    failed = attempt("db", {"connection": "shop", "execute": "DELETE FROM orders", "write": True}, timeout=0.5)
    other.rollback()
    other.close()
    assert error(failed) == "timeout"
    assert isinstance(failed.outcome, Retry)
    assert failed.outcome.acted is False
    assert len(database.names()) == 3


@pytest.mark.parametrize(
    ("config", "repeatable"),
    [
        ({"query": "SELECT 1"}, True),
        ({"execute": "DELETE FROM orders", "write": True}, False),
        ({"execute": "DELETE FROM orders", "write": True, "idempotent": True}, True),
    ],
)
def test_a_lost_attempt_is_repeated_only_where_that_is_safe(sqlite_db: Database, config: Any, repeatable: bool) -> None:
    assert family("db").repeatable(resolve("db", {"connection": "shop", **config}), None) is repeatable


def test_describes_itself_with_its_values(sqlite_db: Database) -> None:
    config = {
        "connection": "shop",
        "execute": "DELETE FROM orders\n WHERE id IN :ids",
        "write": True,
        "expect": {"rows": 2},
    }
    action = resolve("db", {**config, "params": {"ids": "${{ input.ids }}"}}, {"input": {"ids": [2, 3]}})
    said = family("db").describe(action)
    assert said == (
        "Changes data with DELETE FROM orders WHERE id IN :ids where ids = [2, 3] on the connection shop; "
        "exactly 2 rows or nothing"
    )


def test_long_statements_are_named_in_the_sentence_and_not_poured_into_it(sqlite_db: Database) -> None:
    delete = "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE status = 'closed' AND total > 100)"
    config = {"connection": "shop", "statements": [delete, delete.replace("orders", "lines")], "write": True}
    said = family("db").describe(resolve("db", config))
    assert said == (
        "Changes data with DELETE FROM orders WHERE id IN (SELECT id FROM…; "
        "DELETE FROM lines WHERE id IN (SELECT id FROM… "
        "on the connection shop"
    )
