"""The signing secrets of a subscription: sealed in its row, opened only to sign."""

from __future__ import annotations

import secrets

from resources import crypto, sealed
from runs.models import Subscription
from runs.outbound import signing

#: seconds for which the key before the last one signs too
OVERLAP = 24 * 3600.0


def fresh() -> str:
    return signing.new_secret(secrets.token_bytes(32))


def seal(secret: str, name: str) -> bytes:
    return crypto.seal(secret.encode(), aad=_place(name))


def of(subscription: Subscription, now: float) -> list[str]:
    """The secrets that sign now, the newest first. Raises crypto.CannotDecrypt."""
    sealed = [bytes(subscription.key)]
    if subscription.old_key is not None and subscription.old_until is not None and now < subscription.old_until:
        sealed.append(bytes(subscription.old_key))
    return [crypto.open_(key, aad=_place(subscription.name)).decode() for key in sealed]


def register_columns() -> None:
    """For `manage.py rotate_keys`."""
    for label, column in (("signing key", "key"), ("former signing key", "old_key")):
        sealed.register(sealed.Column(label, Subscription, column, ("name",), _place))


def _place(name: str) -> bytes:
    return crypto.place("runs_subscription", name, "key")
