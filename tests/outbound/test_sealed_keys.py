"""Signing keys of subscriptions are sealed anew with the rest."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from resources import sealed
from resources.access import Actor
from runs.models import Subscription
from runs.outbound import keys

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def test_both_signing_keys_open_without_the_old_encryption_key(settings: Any) -> None:
    owner = get_user_model().objects.create_user("olga")
    now, both = 1000.0, [keys.fresh(), keys.fresh()]
    row = Subscription.objects.create(
        name="hq", url="https://example.com", owner=owner, key=keys.seal(both[0], "hq"), old_until=now + 1,
        old_key=keys.seal(both[1], "hq"), cursor=0, since=now, created_at=now, updated_at=now,
    )  # fmt: skip
    settings.ENCRYPTION_KEYS = {"k9": base64.b64encode(os.urandom(32)).decode(), **settings.ENCRYPTION_KEYS}
    done = {found.label: found.changed for found in sealed.reseal_all(actor=Actor.system("test"))}
    assert (done["signing key"], done["former signing key"]) == (1, 1)
    settings.ENCRYPTION_KEYS = {"k9": settings.ENCRYPTION_KEYS["k9"]}
    row.refresh_from_db()
    assert keys.of(row, now) == both
