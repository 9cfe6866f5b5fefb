"""People, folders and a small flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from resources.access import Actor
from resources.models import Grant
from resources.secrets import set_secret

SOURCE = """\
flow: greet
folder: team
title: Greet somebody
input:
  type: object
  required: [name]
  properties:
    name: {type: string, minLength: 1}
    times: {type: integer, default: 1, maximum: 9}
triggers:
  - manual: {}
  - webhook:
      name: github
      verify: github
      secret: github-hook
      if: ${{ trigger.body.action == 'published' }}
      dedupe: ${{ trigger.headers['x-github-delivery'] }}
      input: {name: "${{ trigger.body.name }}"}
  - webhook: {name: open, verify: none}
steps:
  - id: rest
    sleep: 1s
"""


@pytest.fixture
def source() -> str:
    return SOURCE


@pytest.fixture
def person(db: None) -> Callable[..., Any]:
    """Makes a user with a role on a folder."""

    def make(name: str, role: str = "", folder: str = "") -> Any:
        user, _ = get_user_model().objects.get_or_create(username=name)
        if role:
            Grant.objects.get_or_create(user=user, role=role, folder=folder)
        return user

    return make


@pytest.fixture
def author(person: Callable[..., Any]) -> Actor:
    return Actor.of_user(person("ana", "author", "team"))


@pytest.fixture
def github_secret(db: None) -> None:
    set_secret(actor=Actor.system("test"), name="github-hook", value="s3cret-of-the-hook")
