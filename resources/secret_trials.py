"""Trying a secret from its page: can its value be read now? The value itself is shown and kept nowhere."""

from __future__ import annotations

import time

from django.db import transaction

from resources import audit, backends, secrets
from resources.access import Actor, require
from resources.backends.errors import Refused, Unreachable
from resources.crypto import CannotDecrypt
from resources.models import Role
from resources.probe import Tested

_READ = {
    "stored": "It can be read: the key ring opens it.",
    "env": "It can be read from the environment of the web process. Workers read their own.",
    "vault": "It can be read: Vault gave it in {ms:.0f} ms.",
}


def try_secret(*, actor: Actor, name: str) -> Tested:
    """Read the value as a step would, past what this process remembers of it, and drop it. Admins only.

    Raises NotAllowed, NotFound.
    """
    require(actor, Role.ADMIN)
    row = secrets.get(name)
    result = _tried(name, row.source)
    with transaction.atomic():
        data = {"ok": result.ok, "message": result.message, "version": row.version}
        audit.record(actor=actor, action="secret.tested", object_type="secret", object_id=name, data=data)
    return result


def _tried(name: str, source: str) -> Tested:
    backends.forget()
    start = time.monotonic()
    try:
        secrets.reveal(name)
    except (Unreachable, Refused, CannotDecrypt) as error:
        return Tested(False, f"{error.message} {error.hint}".strip())
    return Tested(True, _READ[source].format(ms=(time.monotonic() - start) * 1000))
