"""WORKER_DATABASE_URL: who workers sign in as, and whether the server lets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import environ
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

NAME = "WORKER_DATABASE_URL"


class RoleRefused(Exception):
    """The role cannot be made, or is not what it should be. The message is a sentence for an admin."""


@dataclass(frozen=True, slots=True)
class Login:
    """The role's name and password ("": another way to sign in), and how Django is to connect as it."""

    name: str
    password: str = field(repr=False)
    settings: dict[str, Any] = field(repr=False)


def read_login(url: str, database: dict[str, Any]) -> Login:
    """What the URL says; `database`: the settings of DATABASE_URL. Raises RoleRefused."""
    if not url:
        raise RoleRefused(f"Set {NAME}: the address of the same database with the name and password of the role.")
    if not database["ENGINE"].endswith("postgresql"):
        raise RoleRefused("Only PostgreSQL has roles: DATABASE_URL is not one of PostgreSQL.")
    found = environ.Env.db_url_config(url)
    if not str(found.get("ENGINE", "")).endswith("postgresql") or not found.get("USER"):
        raise RoleRefused(f"{NAME} must be a postgres:// URL with the name of a role.")
    if found["NAME"] != database["NAME"]:
        raise RoleRefused(f"{NAME} names the database {found['NAME']}, DATABASE_URL {database['NAME']}.")
    if found["USER"] == database["USER"]:
        raise RoleRefused(f"{NAME} names the role of DATABASE_URL: workers need one of their own.")
    wanted = {key: found.get(key, "") for key in ("USER", "PASSWORD", "HOST", "PORT")}
    return Login(found["USER"], found.get("PASSWORD", ""), wanted | {"OPTIONS": found.get("OPTIONS", {})})


def connected_as(login: Login, connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """A connection of its own to the same database, not opened yet; close it."""
    other = connection.copy()
    options = {**other.settings_dict["OPTIONS"], **login.settings["OPTIONS"]}
    other.settings_dict = {**other.settings_dict, **login.settings, "OPTIONS": options}
    return other


def problem_with(login: Login, connection: BaseDatabaseWrapper) -> str:
    """Why the server does not let the role in; "" where it does."""
    other = connected_as(login, connection)
    try:
        other.ensure_connection()
    except OperationalError as error:
        return " ".join(str(error).split())
    finally:
        other.close()
    return ""
