"""What can go wrong when a value lives elsewhere. Messages never hold a value or a token."""

from __future__ import annotations

from resources.errors import OrchestraError


class Unreachable(OrchestraError):
    """Not now: it is down, sealed, busy or slow. Trying again can help."""

    code = "secret_unreachable"
    status = 503


class Refused(OrchestraError):
    """Not like this: nothing is there, or we may not read it. A person has to mend it."""

    code = "secret_refused"
    status = 502
