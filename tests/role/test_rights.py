"""The list of what workers may do, and the role that is made from it on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from psycopg import sql

from orchestra.role import grants
from orchestra.role.login import NAME, RoleRefused, read_login
from resources import audit, holding
from resources.access import Actor
from tests.engine.databases import WORKER_ROLE, Templates, connected, worker_url

# -- on a server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def database(templates: Templates, django_db_blocker: Any) -> Iterator[str]:
    """A fresh PostgreSQL, in which the role of the tests has its rights."""
    with django_db_blocker.unblock():
        url = templates.copy("postgres")
        with connected(url):
            yield url
        templates.drop(url)


@pytest.fixture(scope="module")
def worker(templates: Templates, django_db_blocker: Any) -> Iterator[psycopg.Connection[Any]]:
    """A session of the role; what it is refused leaves nothing for the next test."""
    with django_db_blocker.unblock():
        url = templates.copy("postgres")
    with psycopg.connect(worker_url(url), autocommit=True) as session:
        yield session


REFUSED = [
    "SELECT password FROM auth_user",
    "SELECT * FROM auth_user",
    "UPDATE auth_user SET is_superuser = true",
    "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)",
    "SELECT session_data FROM django_session",
    "SELECT session_data FROM resources_session",
    "SELECT digest FROM resources_apitoken",
    "INSERT INTO resources_grant (user_id, folder, role) VALUES (1, '', 'admin')",
    "UPDATE flows_release SET plan_json = '{}'",
    "DELETE FROM flows_release",
    "UPDATE flows_flow SET live_id = NULL",
    "UPDATE flows_variable SET description = ''",
    "UPDATE resources_secret SET ciphertext = NULL",
    "SELECT ciphertext FROM resources_secretversion",
    "UPDATE resources_connection SET settings = '{}'",
    "DELETE FROM resources_auditentry",
    "UPDATE resources_auditentry SET actor = 'nobody'",
    "TRUNCATE resources_auditentry",
    "DELETE FROM resources_audithead",
    "DELETE FROM runs_runevent",
    "UPDATE runs_runevent SET data = '{}'",
    "DELETE FROM runs_run",
    "UPDATE runs_run SET input = '{}'",
    "UPDATE runs_run SET release_id = 1",
    "UPDATE approvals_approvalrequest SET digest = ''",
    "INSERT INTO approvals_decision (verdict) VALUES ('approve')",
    "SELECT verdict, comment FROM approvals_decision",
    "ALTER TABLE resources_auditentry DISABLE TRIGGER ALL",
    "DROP TRIGGER resources_auditentry_append_only ON resources_auditentry",
    "CREATE TABLE mine (n int)",
    "ALTER TABLE runs_run ADD COLUMN mine int",
    "DROP TABLE runs_work",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE other",
    "ALTER ROLE orchestra_worker CREATEROLE",
    "SET ROLE orchestra",
    "COPY runs_run TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_server_refuses_what_is_not_a_worker_s(worker: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute(statement)


def test_a_worker_adds_to_the_audit_log_and_the_chain_holds(database: str) -> None:
    for role in ("orchestra", WORKER_ROLE, "orchestra"):
        with transaction.atomic():
            grants._run(f"SET LOCAL ROLE {role}")
            audit.record(actor=Actor.system(role), action="run.cancel", object_type="run", object_id="1", data={})
    assert audit.verify() == []
    assert audit.head()[0] == 3


def test_a_worker_may_ask_what_holds_a_resource(database: str) -> None:
    with transaction.atomic():
        grants._run(f"SET LOCAL ROLE {WORKER_ROLE}")
        assert holding.held(["0" * 26]) == {}


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def named(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a role that is not there yet; WORKER_DATABASE_URL says it."""
    name = f"w_{database.rpartition('/')[2]}"
    monkeypatch.setenv(NAME, worker_url(database).replace(WORKER_ROLE, name))
    yield name
    if grants._facts(name) is not None:
        grants._run(f"DROP OWNED BY {name}")
        grants._run(f"DROP ROLE {name}")


def role(*arguments: str) -> None:
    call_command("database_role", *arguments, verbosity=0)


def test_the_role_is_made_once_and_signs_in_and_a_second_time_changes_nothing(named: str) -> None:
    with pytest.raises(CommandError, match=f"There is no role {named}"):
        role("--check")
    role()
    held = grants._held(named)
    assert held == grants.wanted()
    role()
    role("--check")
    assert grants._held(named) == held
    attributes = (
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = %s"
    )
    assert set(grants._run(attributes, [named])[0]) == {False}


def test_rights_that_drifted_are_said_and_put_right(named: str) -> None:
    role()
    grants._run(f"GRANT SELECT (password), DELETE ON auth_user TO {named}")
    grants._run(f"REVOKE INSERT ON runs_work FROM {named}")
    with pytest.raises(CommandError) as said:
        role("--check")
    assert said.value.returncode == 1
    assert "DELETE auth_user, SELECT auth_user.password though it should not" in str(said.value)
    assert "INSERT runs_work yet: run manage.py database_role" in str(said.value)
    role()
    role("--check")


def test_a_new_password_in_the_address_becomes_the_role_s(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    role()
    fresh = os.environ[NAME].replace("of-the-tests-alone", "quite-another")
    monkeypatch.setenv(NAME, fresh)
    with pytest.raises(CommandError, match="cannot sign in"):
        role("--check")
    role()
    psycopg.connect(fresh).close()


def test_what_everybody_may_do_is_refused_until_it_is_taken_away(named: str) -> None:
    grants._run("GRANT SELECT ON auth_user TO PUBLIC")
    with pytest.raises(CommandError, match="SELECT auth_user though it should not: look at what is granted to PUBLIC"):
        role()
    assert grants._facts(named) is None  # nothing was changed
    grants._run("REVOKE SELECT ON auth_user FROM PUBLIC")
    grants._run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(CommandError, match="REVOKE CREATE ON SCHEMA public FROM PUBLIC"):
        role()


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("CREATE ROLE {} LOGIN SUPERUSER", "is a superuser or may make roles or databases"),
        ("CREATE ROLE {} LOGIN IN ROLE pg_read_all_data", "is a member of other roles"),
        ("CREATE ROLE {0} LOGIN; CREATE TABLE its (n int); ALTER TABLE its OWNER TO {0}", "owns tables"),
    ],
)
def test_a_role_that_cannot_be_restricted_is_refused(named: str, made: str, why: str) -> None:
    grants._run(made.format(named))
    with pytest.raises(CommandError, match=f"{why}, so it cannot be restricted"):
        role()


def test_an_owner_who_may_not_make_roles_is_told_what_to_have_run(
    named: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE owner_{named} LOGIN PASSWORD 'x'")
    own = worker_url(database).replace(f"{WORKER_ROLE}:of-the-tests-alone", f"owner_{named}:x")
    with connected(own), pytest.raises(CommandError, match=f'CREATE ROLE "{named}" LOGIN PASSWORD'):
        role()
    grants._run(f"DROP ROLE owner_{named}")


TAKE_OVER = """
DO $$ DECLARE t record; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
LOOP EXECUTE format('ALTER TABLE %I OWNER TO {}', t.tablename); END LOOP; END $$
"""


def test_an_owner_of_the_tables_who_may_make_roles_needs_no_more(named: str, database: str) -> None:
    """Neither the database nor the schema is its own, and others keep something there that everybody reads."""
    owner = f"owner_{named}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN PASSWORD 'x' CREATEROLE")
        here = sql.Identifier(database.rpartition("/")[2])
        admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(here))
        granted = "GRANT CONNECT ON DATABASE {} TO {} WITH GRANT OPTION"
        admin.execute(sql.SQL(granted).format(here, sql.Identifier(owner)))
        admin.execute(TAKE_OVER.format(owner))
        admin.execute("CREATE TABLE theirs (n int); GRANT SELECT ON theirs TO PUBLIC")
    own = worker_url(database).replace(f"{WORKER_ROLE}:of-the-tests-alone", f"{owner}:x")
    try:
        with connected(own):
            role()
            role("--check")
    finally:
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute(f"REASSIGN OWNED BY {owner} TO orchestra")
            for name in (named, owner):
                admin.execute(f"DROP OWNED BY {name} CASCADE")
            admin.execute(f"DROP ROLE {named}; DROP ROLE {owner}")


OURS = {"ENGINE": "django.db.backends.postgresql", "NAME": "orchestra", "USER": "orchestra"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "Set WORKER_DATABASE_URL"),
        ("sqlite:///x", "must be a postgres:// URL"),
        ("postgres://db/orchestra", "with the name of a role"),
        ("postgres://w:x@db/elsewhere", "names the database elsewhere"),
        ("postgres://orchestra:x@db/orchestra", "names the role of DATABASE_URL"),
    ],
)
def test_an_address_that_makes_no_sense_is_a_sentence(url: str, why: str) -> None:
    with pytest.raises(RoleRefused, match=why):
        read_login(url, OURS)


def test_on_sqlite_there_are_no_roles() -> None:
    with pytest.raises(RoleRefused, match="DATABASE_URL is not one of PostgreSQL"):
        read_login("postgres://w:x@db/x", {**OURS, "ENGINE": "resources.sqlite3"})
