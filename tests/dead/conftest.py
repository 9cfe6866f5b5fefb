"""Dead letters on both databases: `database` is SQLite, then PostgreSQL."""

from __future__ import annotations

from tests.engine.conftest import database
from tests.pages.conftest import browser, place, sign_in

__all__ = ["browser", "database", "place", "sign_in"]
