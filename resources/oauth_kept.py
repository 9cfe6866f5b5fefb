"""The tokens that other sides gave connections, for as long as they are good: to be known when they come back.

A worker sends a token; what comes back (an answer to a wait, a runner's log, an event) reaches other processes, which
mask it. So each token is kept sealed from before its first use until it has expired. Nobody sends one from here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from django.db import IntegrityError, models, transaction

from resources import crypto
from resources.ids import new_id

#: seconds for which a token is known whose life nobody tells, and for which any is
UNKNOWN_LIFE: Final = 86_400.0
LONGEST_LIFE: Final = 30 * 86_400.0
#: clocks differ
_AFTER: Final = 60.0
#: of one connection: each process asks for its own, so there are many at a time, and as many forms to look for
MOST: Final = 64


class AccessToken(models.Model):
    """One token of a connection. `until`: epoch seconds."""

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    connection = models.ForeignKey("resources.Connection", models.CASCADE, related_name="+")
    value = models.BinaryField()  # sealed
    key_id = models.CharField(max_length=64)
    until = models.FloatField()

    class Meta:
        app_label = "resources"
        indexes: ClassVar = [models.Index(fields=["connection", "until"], name="access_token_in_use")]

    def __str__(self) -> str:
        return f"token {self.id}"


def register_columns() -> None:
    """For `manage.py rotate_keys`."""
    from resources import sealed  # needs all tables

    sealed.register(sealed.Column("access token", AccessToken, "value", ("id",), _place, "key_id"))


def note(connection_id: int, token: str, expires_in: Any) -> None:
    """Before it is sent. `expires_in`: seconds, as the other side says it, whatever it is."""
    row, now = new_id(), time.time()
    value = crypto.seal(token.encode(), aad=_place(row))
    until = now + known_for(expires_in)
    of_connection = AccessToken.objects.filter(connection_id=connection_id)
    try:
        with transaction.atomic():
            of_connection.filter(until__lte=now).delete()
            kept = list(of_connection.order_by("-pk").values_list("pk", flat=True)[: MOST - 1])
            of_connection.exclude(pk__in=kept).delete()
            AccessToken.objects.create(
                pk=row, connection_id=connection_id, value=value, key_id=crypto.key_id_of(value), until=until
            )
    except IntegrityError:  # the connection was deleted a moment ago: nothing names it, so nobody would look here
        return


def life_of(expires_in: Any, *, unknown: float, longest: float) -> float:
    """Seconds that a token lives, as the other side says, whatever it is; `unknown` where it says nothing. Pure."""
    try:
        life = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        life = unknown
    if not math.isfinite(life) or life <= 0 or isinstance(expires_in, bool):
        life = unknown
    return min(life, longest)


def known_for(expires_in: Any) -> float:
    """Seconds. Pure."""
    return life_of(expires_in, unknown=UNKNOWN_LIFE, longest=LONGEST_LIFE) + _AFTER


def in_use(connection_ids: Iterable[int]) -> list[str]:
    """The tokens of these connections that may still be good. Those that no key of the ring opens are left out."""
    rows = AccessToken.objects.filter(connection_id__in=list(connection_ids), until__gt=time.time())
    return [token for pk, value in rows.values_list("pk", "value") if (token := _opened(pk, bytes(value)))]


def _opened(row: str, value: bytes) -> str:
    try:
        return crypto.open_(value, aad=_place(row)).decode()
    except crypto.CannotDecrypt:
        return ""


def _place(row: str) -> bytes:
    return crypto.place("resources_accesstoken", row, "value")
