"""TLS to PostgreSQL: a server with a certificate of a throwaway authority, and one that is somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.steps.base import Fail
from resources.probe import test_connection as try_connection
from tests.families.attempt import attempt, error, output
from tests.families.databases import ADMIN, Database
from tests.tls import Authority, Pair, front

pytestmark = [pytest.mark.django_db]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The authority (PEM), and a folder with server.crt and server.key for localhost."""
    made = Authority(tmp_path_factory.mktemp("tls"))
    pair = made.pair("localhost")
    pair.certificate.rename(made.folder / "server.crt")
    pair.key.rename(made.folder / "server.key")
    return made.pem, made.folder


@pytest.fixture
def shop(postgres_db: Database, authority: tuple[str, Path]) -> Iterator[Database]:
    pair = Pair(authority[1] / "server.crt", authority[1] / "server.key")
    with front(pair.context(), postgres_db.made["port"], asks=True) as server:
        postgres_db.made["port"] = server.port
        yield postgres_db


NETWORKS = ["127.0.0.0/8", "::1/128"]


def ask(name: str) -> Any:
    return attempt("db", {"connection": name, "query": "SELECT 1 AS a"})


def test_a_checked_server_is_used_and_the_name_is_what_is_checked(shop: Database, authority: tuple[str, Path]) -> None:
    shop.connect("named", host="localhost", tls="verify-full", ca=authority[0], allow_networks=NETWORKS)
    assert output(ask("named"))["rows"] == [{"a": 1}]
    tried = try_connection(actor=ADMIN, name="named")
    assert tried.ok, tried.message
    assert "over TLS" in tried.message
    assert "superuser" in tried.message


@pytest.mark.parametrize("changed", [{"host": "127.0.0.1"}, {"host": "localhost", "ca": ""}])
def test_another_name_or_authority_is_refused(
    shop: Database, authority: tuple[str, Path], changed: dict[str, str]
) -> None:
    shop.connect("other", **{"tls": "verify-full", "ca": authority[0], "allow_networks": NETWORKS, **changed})
    failed = ask("other")
    assert isinstance(failed.outcome, Fail)
    assert error(failed) == "refused"
    assert "cannot be trusted" in failed.stored["message"]
