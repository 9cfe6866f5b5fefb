"""TLS to MariaDB: a server with a certificate of a throwaway authority, somebody else, and its end in mid-step."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows.steps.base import Fail, Retry
from resources.probe import test_connection as try_connection
from tests.families.attempt import attempt, error, output
from tests.families.databases import ADMIN, Database, mysql_database
from tests.mariadb import MariaDb, mariadb
from tests.tls import Authority

pytestmark = [pytest.mark.django_db]
NETWORKS = ["127.0.0.0/8", "::1/128"]
RUNNING = "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> connection_id()"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[MariaDb]:
    pair = authority.pair("localhost")
    with mariadb({"ssl-cert": str(pair.certificate), "ssl-key": str(pair.key)}) as running:
        yield running


@pytest.fixture
def shop(server: MariaDb, db: None) -> Database:
    return mysql_database(server)


def ask(name: str) -> Any:
    return attempt("db", {"connection": name, "query": "SELECT 1 AS a"})


def test_a_checked_server_is_used_over_tls(shop: Database, authority: Authority) -> None:
    checked = {"host": "localhost", "tls": "verify-full", "ca": authority.pem, "allow_networks": NETWORKS}
    for name, settings in (("checked", checked), ("encrypted", {"tls": "require"}), ("wanted", {"tls": "prefer"})):
        shop.connect(name, **settings)
        assert output(ask(name))["rows"] == [{"a": 1}]
        tried = try_connection(actor=ADMIN, name=name)
        assert tried.ok and "over TLS" in tried.message


@pytest.mark.parametrize("changed", [{"host": "127.0.0.1"}, {"ca": ""}, {"ca": "another"}])
def test_another_name_or_authority_is_refused_before_anything_is_changed(
    shop: Database, authority: Authority, changed: dict[str, str], tmp_path: Any
) -> None:
    if changed.get("ca"):
        changed = {"ca": Authority(tmp_path).pem}
    asked = {"host": "localhost", "tls": "verify-full", "ca": authority.pem, "allow_networks": NETWORKS}
    shop.connect("other", **{**asked, **changed})
    failed = attempt("db", {"connection": "other", "execute": "DELETE FROM orders", "write": True})
    assert isinstance(failed.outcome, Fail)
    assert error(failed) == "refused"
    assert "cannot be trusted" in failed.stored["message"]
    assert "Look at `host`" in failed.stored["message"]
    assert not try_connection(actor=ADMIN, name="other").ok
    assert len(shop.names()) == 3


def test_a_server_that_is_killed_in_mid_step_has_changed_nothing_and_may_be_asked_again(db: None) -> None:
    with mariadb({"innodb-flush-log-at-trx-commit": "1"}) as doomed:
        shop = mysql_database(doomed)

        def kill() -> None:
            while not shop.run(RUNNING):
                time.sleep(0.05)
            os.kill(doomed.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        config = {"connection": "shop", "statements": ["DELETE FROM orders", "SELECT SLEEP(60)"], "write": True}
        failed = attempt("db", config, timeout=50.0)
        killer.join()
        assert isinstance(failed.outcome, Retry)
        assert (error(failed), failed.outcome.acted) == ("network", False)
        assert "nothing was changed" in failed.stored["message"].lower()
        away = ask("shop")
        assert isinstance(away.outcome, Retry)
        assert error(away) == "connect"
        assert "could not be reached" in away.stored["message"]
