"""The try of a connection to a database: one read-only session that asks who answers."""

from __future__ import annotations

import time

from resources.connections import ConnectionRef
from resources.databases import engines
from resources.databases.session import session
from resources.errors import OrchestraError
from resources.masking import Masker
from resources.probe import Tested

_SECONDS = 5.0


def test(ref: ConnectionRef) -> Tested:
    """At most 5 seconds; changes nothing."""
    import sqlalchemy.exc

    start, masker = time.monotonic(), Masker()
    try:
        access = engines.access_of(ref)
        masker.add(access.password)
        with session(ref, write=False, seconds=_SECONDS) as opened:
            who = access.driver.about(opened.connection)
    except OrchestraError as error:
        return Tested(False, masker.text(f"{error.message} {error.hint}".strip()))
    except sqlalchemy.exc.DBAPIError as error:
        return Tested(False, masker.text(f"It was reached, but did not answer as it should: {error.orig}."))
    return Tested(True, f"Reached in {(time.monotonic() - start) * 1000:.0f} ms: {who}")
