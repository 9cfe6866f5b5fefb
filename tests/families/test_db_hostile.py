"""What goes wrong at a database: the error a person reads, and the state that is left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from flows.resolve import ResolveError
from flows.steps.base import Fail, Retry
from resources.connections import parse_settings, update_connection
from resources.errors import BadInput
from resources.secrets import set_secret
from tests.families.attempt import Attempt, attempt, error, output, resolve
from tests.families.databases import ADMIN, Database

pytestmark = [pytest.mark.django_db]


def run(sql: str, *, write: bool = False, **rest: Any) -> Attempt:
    config = {"connection": "shop", "execute" if write else "query": sql, **({"write": True} if write else {})}
    fields = {k: rest.pop(k) for k in ("timeout", "store", "cancelled") if k in rest}
    return attempt("db", {**config, **rest}, **fields)


def past_lint(sql: str, *, write: bool = False) -> Attempt:
    """As if lint had let it pass: only the server is left to say no."""
    plain = {"execute": "DELETE FROM orders", "write": True} if write else {"query": "SELECT 1"}
    action = resolve("db", {"connection": "shop", **plain})
    own = {"statements": [sql]} if write else {"query": sql}
    return attempt("db", {}, action=replace(action, config={**action.config, **own}))


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("sql", ["SELECT 1; DELETE FROM orders", "DELETE FROM orders; DELETE FROM orders"])
def test_the_server_takes_one_statement_at_a_time(database: Database, sql: str, write: bool) -> None:
    failed = past_lint(sql, write=write)
    assert isinstance(failed.outcome, Fail)
    assert error(failed) in ("input", "refused")
    assert len(database.names()) == 3


REFUSED_IN_TEXT = [
    "COPY orders TO PROGRAM 'id'",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE orders",
    "SELECT 1 INTO OUTFILE '/tmp/orchestra-never'",
    "SELECT /*!50000 1 */",
    "SELECT 1 # '\n INTO OUTFILE '/tmp/orchestra-never' -- '",
    "ATTACH DATABASE '/tmp/orchestra-never' AS x",
    "PRAGMA writable_schema = ON",
    "VACUUM INTO '/tmp/orchestra-never'",
    "COMMIT",
    "BEGIN",
    "SELECT 1; SELECT 2",
    "  -- nothing\n",
]


@pytest.mark.parametrize("sql", REFUSED_IN_TEXT)
@pytest.mark.parametrize("write", [False, True])
def test_some_statements_are_refused_before_anybody_is_asked(sqlite_db: Database, sql: str, write: bool) -> None:
    with pytest.raises(ResolveError) as raised:
        run(sql, write=write)
    assert raised.value.error.cls == "config"


@pytest.mark.parametrize(
    "sql",
    [
        "COPY orders TO PROGRAM 'id'",
        "SET default_transaction_read_only = off",
        "BEGIN READ WRITE",
        "DO $$ BEGIN DELETE FROM orders; END $$",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT lo_import('/etc/passwd')",
        "SELECT nextval('numbers')",
    ],
)
def test_a_read_of_postgresql_stays_one(postgres_db: Database, sql: str) -> None:
    postgres_db.run("CREATE SEQUENCE numbers")
    assert isinstance(past_lint(sql).outcome, Fail)
    assert isinstance(run("DELETE FROM orders").outcome, Fail)  # the next session is read-only, too
    assert len(postgres_db.names()) == 3


def test_an_account_that_may_little_reads_no_files_of_the_server(postgres_db: Database) -> None:
    if not postgres_db.run("SELECT 1 FROM pg_roles WHERE rolname = 'small'"):
        postgres_db.run("CREATE ROLE small LOGIN PASSWORD 'small-password'")
    set_secret(actor=ADMIN, name="small", value="small-password")
    postgres_db.connect("small", username="small", secret="small")
    postgres_db.run("GRANT USAGE ON SCHEMA public TO small")
    for sql in ("SELECT pg_read_file('/etc/passwd')", "SELECT * FROM orders"):
        failed = attempt("db", {"connection": "small", "query": sql, "max_rows": 1})
        assert error(failed) == "refused", failed.stored
        assert "permission denied" in failed.stored["message"].lower()


def test_nothing_of_a_session_reaches_the_next(postgres_db: Database) -> None:
    output(run("SELECT set_config('application_name', 'mine', false), pg_advisory_lock(7)::text", max_rows=1))
    found = output(run("SELECT current_setting('application_name') AS n, count(*) AS locks FROM pg_locks "
                       "WHERE locktype = 'advisory' AND pid = pg_backend_pid()", max_rows=1))  # fmt: skip
    assert found["rows"] == [{"n": "orchestra", "locks": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH DATABASE '/tmp/orchestra-never' AS x",
        "PRAGMA query_only = OFF",
        "PRAGMA user_version = 5",
        "SELECT load_extension('/tmp/orchestra-never.so')",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "VACUUM INTO '/tmp/orchestra-never'",
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_sqlite_reaches_nothing_but_its_file(sqlite_db: Database, sql: str, write: bool) -> None:
    assert isinstance(past_lint(sql, write=write).outcome, Fail)
    assert not Path("/tmp/orchestra-never").exists()


@pytest.mark.parametrize("file", ["../orchestra.sqlite3", "/etc/passwd", "a/../../x", "x?mode=rwc", ""])
def test_a_file_outside_the_folder_is_no_setting(db: None, file: str) -> None:
    with pytest.raises(BadInput):
        parse_settings("sqlite", {"file": file})


def test_links_and_files_with_two_names_are_refused(sqlite_db: Database) -> None:
    folder = Path(settings.DATA_DIR) / "databases"
    (folder / "link.sqlite3").unlink(missing_ok=True)
    (folder / "link.sqlite3").symlink_to(folder / sqlite_db.made["file"])
    sqlite_db.connect("linked", file="link.sqlite3")
    sqlite_db.connect("missing", file="nowhere.sqlite3")
    assert error(attempt("db", {"connection": "linked", "query": "SELECT 1"})) == "refused"
    assert error(attempt("db", {"connection": "missing", "query": "SELECT 1"})) == "connect"
    (folder / "hard.sqlite3").unlink(missing_ok=True)
    (folder / "hard.sqlite3").hardlink_to(folder / sqlite_db.made["file"])
    assert error(run("SELECT 1")) == "refused"


BIG = {"postgres": "repeat('x', 20000000)", "mysql": "REPEAT('x', 15000000)", "sqlite": "hex(zeroblob(10000000))"}


def test_a_huge_cell_fails_with_its_place(database: Database) -> None:
    failed = run(f"SELECT 1 AS small, {BIG[database.kind]} AS big")
    assert (error(failed), isinstance(failed.outcome, Fail)) == ("limit", True)
    assert "column big of row 1" in failed.stored["message"]


ROWS = {"postgres": 1_000_000, "mysql": 100_000, "sqlite": 100_000}
MANY = {
    "postgres": "SELECT i, 'name ' || i AS name FROM generate_series(1, 1000000) AS s(i)",
    "mysql": "SELECT seq AS i, CONCAT('name ', seq) AS name FROM seq_1_to_100000",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
    "SELECT i, 'name ' || i AS name FROM n",
}


def _memory() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_rows_go_to_a_resource_in_little_memory(database: Database) -> None:
    seen: dict[str, Any] = {"bytes": 0, "lines": 0, "peak": 0}
    before, rows = _memory(), ROWS[database.kind]

    def store(chunks: Iterable[bytes], *, name: str, content_type: str) -> dict[str, Any]:
        for chunk in chunks:
            seen["lines"] += chunk.count(b"\n")
            seen["peak"] = max(seen["peak"], _memory() - before)
        return {"$res": "res://x", "name": name, "content_type": content_type}

    found = output(run(MANY[database.kind], rest="resource", max_rows=2, store=store, timeout=120.0))
    assert (seen["lines"], found["row_count"], found["truncated"]) == (rows + 1, rows, True)
    assert found["rows"] == [{"i": 1, "name": "name 1"}, {"i": 2, "name": "name 2"}]
    assert found["resource"]["content_type"].startswith("text/csv")
    assert seen["peak"] < 100 * 1024 * 1024


def test_of_many_rows_only_those_asked_for_are_read(database: Database) -> None:
    found = output(run(MANY[database.kind], max_rows=3))
    assert (found["row_count"], found["truncated"]) == (3, True)
    assert output(run("SELECT 1 AS a", max_rows=1))["rows"] == [{"a": 1}]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_server_that_says_nothing_ends_with_the_time(request: pytest.FixtureRequest, silent: int, kind: str) -> None:
    database: Database = request.getfixturevalue(f"{kind}_db")
    database.connect("silent", port=silent)
    failed = attempt("db", {"connection": "silent", "query": "SELECT 1"}, timeout=0.5)
    assert (error(failed), failed.outcome.acted) == ("timeout", False)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_who_is_not_let_in_or_not_allowed_reads_why(request: pytest.FixtureRequest, kind: str) -> None:
    database: Database = request.getfixturevalue(f"{kind}_db")
    set_secret(actor=ADMIN, name="wrong", value="wrong-password")
    database.connect("wrong", secret="wrong")
    database.connect("private", allow_networks=[])
    database.connect("checked", tls="verify-full")
    database.connect("encrypted", tls="require")
    for name, says in (("wrong", "refused the connection"), ("private", "loopback")):
        failed = attempt("db", {"connection": name, "query": "SELECT 1"})
        assert error(failed) == "refused"
        assert says in failed.stored["message"]
        assert "wrong-password" not in str(failed.outcome)
    for name in ("checked", "encrypted"):  # this server has no TLS
        assert isinstance(attempt("db", {"connection": name, "query": "SELECT 1"}).outcome, Fail)


def test_bytes_that_are_no_text_are_shown_as_far_as_they_are(sqlite_db: Database) -> None:
    assert output(run("SELECT CAST(x'61ff62' AS TEXT) AS a"))["rows"] == [{"a": "a\ufffdb"}]


def test_a_connection_changed_since_the_action_was_resolved_does_nothing(database: Database) -> None:
    action = resolve("db", {"connection": "shop", "execute": "DELETE FROM orders", "write": True})
    changed = {"file": "other.sqlite3"} if database.kind == "sqlite" else {"username": "somebody"}
    update_connection(actor=ADMIN, name="shop", settings={**database.made, **changed})
    assert error(attempt("db", {}, action=action)) == "conflict"
    assert len(database.names()) == 3


#: ends the session that sleeps; something, once it was there
KILL: dict[str, Callable[[Database], Sequence[object]]] = {
    "postgres": lambda d: d.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    ),
    "mysql": lambda d: [
        d.run(f"KILL CONNECTION {row[0]}")
        for row in d.run(
            "SELECT id FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> connection_id()"
        )
    ],
}


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_server_that_dies_in_the_middle_has_changed_nothing(request: pytest.FixtureRequest, kind: str) -> None:
    database: Database = request.getfixturevalue(f"{kind}_db")
    sleep = {"postgres": "pg_sleep(60)::text", "mysql": "SLEEP(60)"}[kind]

    def kill() -> None:
        while not KILL[kind](database):
            time.sleep(0.05)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    config = {"connection": "shop", "statements": ["DELETE FROM orders", f"SELECT {sleep}"], "write": True}
    failed = attempt("db", config, timeout=50.0)
    killer.join(50)
    assert isinstance(failed.outcome, Retry)
    assert (error(failed), failed.outcome.acted) == ("network", False)
    assert len(database.names()) == 3


def test_a_connection_lost_while_it_commits_may_have_acted(postgres_db: Database) -> None:
    postgres_db.run(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER dies AFTER DELETE ON orders DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION die()",
    )
    failed = run("DELETE FROM orders", write=True)
    assert isinstance(failed.outcome, Retry)
    assert (error(failed), failed.outcome.acted) == ("network", True)
    assert "may have happened" in failed.stored["message"]
    assert len(postgres_db.names()) == 3


def test_a_pooled_connection_that_died_is_replaced(postgres_db: Database) -> None:
    output(run("SELECT 1 AS a"))
    postgres_db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orchestra'")
    assert output(run("SELECT 2 AS a"))["rows"] == [{"a": 2}]


def test_a_broken_rule_names_its_constraint_and_nobodys_data(postgres_db: Database) -> None:
    postgres_db.run("ALTER TABLE orders ADD CONSTRAINT small_paid CHECK (paid < 5)")
    failed = run("UPDATE orders SET paid = 9, name = 'private name' || id", write=True)
    assert (error(failed), failed.stored["details"]["constraint"]) == ("input", "small_paid")
    assert "private" not in str(failed.stored)
    wrong = run("SELECT nope FROM orders")
    assert (error(wrong), wrong.stored["details"]["sqlstate"]) == ("input", "42703")
