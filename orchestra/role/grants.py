"""Making the role, giving it the rights of the list, and looking at what it may do in the end.

All of it is one transaction under a lock, so that workers that run see the rights before or after, never none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.apps import apps
from django.db import ProgrammingError, connection, transaction
from psycopg import sql

from orchestra.role.login import NAME, Login, RoleRefused, problem_with
from orchestra.role.rights import RIGHTS, Rights

#: (table, column or "", privilege)
Right = tuple[str, str, str]

_LOCK: Final = 7_203_114_405
_PRIVILEGES: Final = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
#: this program's own: not what extensions and others keep in the same schema
_TABLES: Final = """
SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(c.relowner, 'USAGE')
   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_HELD: Final = f"""
WITH t AS ({_TABLES}), p AS (SELECT unnest(%s::text[]) AS privilege)
SELECT relname, '', privilege FROM t, p WHERE has_table_privilege(%s, t.oid, privilege)
UNION ALL
SELECT relname, a.attname, privilege FROM t JOIN pg_attribute a ON a.attrelid = t.oid, p
 WHERE a.attnum > 0 AND NOT a.attisdropped AND privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
   AND has_column_privilege(%s, t.oid, a.attnum, privilege) AND NOT has_table_privilege(%s, t.oid, privilege)
"""  # noqa: S608  our own text
_FACTS: Final = """
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls,
       EXISTS (SELECT 1 FROM pg_auth_members WHERE member = r.oid),
       EXISTS (SELECT 1 FROM pg_class WHERE relowner = r.oid),
       has_schema_privilege(r.oid, current_schema(), 'CREATE') OR
       has_database_privilege(r.oid, current_database(), 'CREATE')
  FROM pg_roles r WHERE rolname = %s
"""
_MADE: Final = "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def wanted(rights: Mapping[str, Rights] = RIGHTS) -> set[Right]:
    """What the list says, by table."""
    return {
        (apps.get_model(label)._meta.db_table, column, privilege)
        for label, right in rights.items()
        for privilege, columns in right.clauses()
        for column in columns or ("",)
    }


def give(login: Login) -> None:
    """Make the role where it is missing and give it exactly the rights of the list; its password becomes the URL's.

    Raises RoleRefused, having changed nothing, or with rights that are right and a password that is not.
    """
    try:
        with transaction.atomic():
            _run("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            if _facts(login.name) is None:
                _make(login)
            _open_doors(login.name)
            for statement in statements(login.name, _tables(), wanted()):
                _run(statement)
            refuse_what_is_wrong(login.name)
    except ProgrammingError as error:
        raise RoleRefused(_why_not(login.name, error)) from error
    _let_in(login)


def _tables() -> list[str]:
    """Raises RoleRefused where a table of the list is not there."""
    found = [name for _, name in _run(_TABLES)]
    if missing := {table for table, _, _ in wanted()} - set(found):
        raise RoleRefused(f"The role of DATABASE_URL owns no table {min(missing)}: run manage.py migrate as it first.")
    return found


def statements(role: str, tables: Sequence[str], rights: Iterable[Right]) -> Iterator[sql.Composed]:
    """What takes everything of these tables from the role and gives it these rights. Pure."""
    name = sql.Identifier(role)
    yield sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, tables)), name)
    for table, column, privilege in sorted(rights):
        of = sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL("")
        yield sql.SQL("GRANT {}{} ON {} TO {}").format(sql.SQL(privilege), of, sql.Identifier(table), name)


def _open_doors(role: str) -> None:
    """To the database and the schema, where not everybody may go there."""
    name, schema, database = sql.Identifier(role), *map(sql.Identifier, _place())
    asked = (
        "has_database_privilege(%s, current_database(), 'CONNECT'), has_schema_privilege(%s, current_schema(), 'USAGE')"
    )
    may_connect, may_look = _run(f"SELECT {asked}", [role, role])[0]
    if not may_connect:
        _run(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, name))
    if not may_look:
        _run(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, name))


def refuse_what_is_wrong(role: str) -> None:
    """Raises RoleRefused for a role that may do more, or less, than the list says, in whatever way it came to that."""
    facts = _facts(role)
    if facts is None:
        raise RoleRefused(f"There is no role {role}. `manage.py database_role` makes it.")
    powerful, member, owner, creates = facts
    if powerful or member or owner:
        why = "is a superuser or may make roles or databases" if powerful else "is a member of other roles"
        why = "owns tables" if owner and not powerful else why
        raise RoleRefused(f"The role {role} {why}, so it cannot be restricted. Name another one in {NAME}.")
    if creates:
        schema, database = _place()
        raise RoleRefused(
            f"Every role may make tables in the schema {schema} of the database {database}. As its owner, run "
            f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC (and grant it to the role of DATABASE_URL), then try again."
        )
    held, should = _held(role), wanted()
    if held != should:
        raise RoleRefused(f"The role {role} {_difference(held, should)}.")


def _difference(held: set[Right], should: set[Right]) -> str:
    more, less = sorted(held - should), sorted(should - held)
    said = [f"may {_words(more)} though it should not: look at what is granted to PUBLIC"] if more else []
    said += [f"may not {_words(less)} yet: run manage.py database_role"] if less else []
    return "; it ".join(said)


def _words(rights: list[Right]) -> str:
    shown = [f"{privilege} {table}{f'.{column}' if column else ''}" for table, column, privilege in rights[:5]]
    return ", ".join(shown) + (f" and {len(rights) - 5} more" if len(rights) > 5 else "")


def _make(login: Login) -> None:
    with transaction.atomic():
        _run(sql.SQL(_MADE).format(sql.Identifier(login.name)))


def _let_in(login: Login) -> None:
    """The role signs in as the URL says; where it cannot, the URL's password becomes its own. Raises RoleRefused."""
    problem = problem_with(login, connection)
    if problem and login.password:
        try:
            _set_password(login)
        except ProgrammingError as error:
            raise RoleRefused(f"The role {login.name} cannot sign in, and {_why_not(login.name, error)}") from error
        problem = problem_with(login, connection)
    if problem:
        raise RoleRefused(f"The role {login.name} has its rights, but cannot sign in as {NAME} says: {problem}")


def _set_password(login: Login) -> None:
    """As a verifier: what the server may log never holds the password."""
    connection.ensure_connection()
    pg: Any = connection.connection.pgconn
    verifier = pg.encrypt_password(login.password.encode(), login.name.encode(), b"scram-sha-256").decode()
    _run(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login.name), sql.Literal(verifier)))


def _why_not(role: str, error: Exception) -> str:
    return (
        f"the role of DATABASE_URL may not do what it takes ({' '.join(str(error).split())}). Have somebody who may "
        f"run: CREATE ROLE \"{role}\" LOGIN PASSWORD '…'; then run manage.py database_role as the owner of the tables."
    )


def _facts(role: str) -> tuple[bool, bool, bool, bool] | None:
    found = _run(_FACTS, [role])
    return found[0] if found else None


def _held(role: str) -> set[Right]:
    return set(_run(_HELD, [_PRIVILEGES, role, role, role]))


def _place() -> tuple[str, str]:
    schema, database = _run("SELECT current_schema(), current_database()")[0]
    return schema, database


def _run(statement: str | sql.Composed, values: list[Any] | None = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []
