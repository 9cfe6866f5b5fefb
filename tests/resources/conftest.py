"""The cast: an admin, an author, a viewer and somebody without a role."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from resources.access import Actor
from resources.models import Grant


def make_user(name: str, *roles: str, folder: str = "") -> Any:
    user = get_user_model().objects.create_user(name, password="correct horse")
    Grant.objects.bulk_create([Grant(user=user, role=role, folder=folder) for role in roles])
    return user


@pytest.fixture
def admin(db: None) -> Actor:
    return Actor.of_user(make_user("ada", "admin"))


@pytest.fixture
def author(db: None) -> Actor:
    return Actor.of_user(make_user("arno", "author"))


@pytest.fixture
def viewer(db: None) -> Actor:
    return Actor.of_user(make_user("vera", "viewer"))


@pytest.fixture
def outsider(db: None) -> Actor:
    return Actor.of_user(make_user("otto"))
