"""API tokens: shown once, found by hash, ended by time, by hand or with their user."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from resources import tokens
from resources.access import Actor, can
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import ApiToken, AuditEntry

pytestmark = pytest.mark.db_matrix


def make(actor: Actor, **kwargs: Any) -> tuple[ApiToken, str]:
    return tokens.create_token(**{"actor": actor, "user": actor.user, "name": "laptop", **kwargs})


def test_a_token_acts_as_its_user(author: Actor) -> None:
    token, plain = make(author)
    assert plain.startswith("orc_") and plain.startswith(token.prefix)
    assert plain not in str(ApiToken.objects.values()) + str(AuditEntry.objects.values())
    actor = tokens.authenticate(plain, address="192.0.2.1")
    assert actor == Actor("token", "arno", author.user, "192.0.2.1", ())
    assert can(actor, "author", "any")


def test_scopes_narrow_it(author: Actor) -> None:
    actor = tokens.authenticate(make(author, scopes=["viewer"])[1])
    assert actor is not None
    assert can(actor, "viewer", "any") and not can(actor, "author", "any")


@pytest.mark.parametrize("plain", ["", "orc_", "orc_" + "x" * 43, "x" * 100_000, "\ud800", "é"])
def test_unknown_texts_are_nobody(author: Actor, plain: str) -> None:
    make(author)
    assert tokens.authenticate(plain) is None


def test_it_ends_at_its_time_by_hand_and_with_its_user(author: Actor) -> None:
    now = timezone.now()
    _, brief = make(author, expires_at=now + timedelta(days=1))
    assert tokens.authenticate(brief, now=now + timedelta(hours=23)) is not None
    assert tokens.authenticate(brief, now=now + timedelta(days=1)) is None
    token, plain = make(author)
    for _ in range(2):
        tokens.revoke_token(actor=author, token_id=token.pk)
    assert tokens.authenticate(plain) is None
    assert AuditEntry.objects.filter(action="token.revoked").count() == 1
    _, third = make(author)
    author.user.is_active = False
    author.user.save()
    assert tokens.authenticate(third) is None


def test_use_is_noted_once_a_minute(author: Actor, django_assert_num_queries: Any) -> None:
    token, plain = make(author)
    now = timezone.now()
    tokens.authenticate(plain, now=now)
    with django_assert_num_queries(1):
        tokens.authenticate(plain, now=now + timedelta(seconds=59))
    token.refresh_from_db()
    assert token.last_used_at == now
    tokens.authenticate(plain, now=now + timedelta(seconds=60))
    token.refresh_from_db()
    assert token.last_used_at == now + timedelta(seconds=60)


def test_nobody_makes_or_ends_tokens_of_others_but_admins(author: Actor, viewer: Actor, admin: Actor) -> None:
    with pytest.raises(NotAllowed):
        make(viewer, user=author.user)
    token, plain = make(admin, user=author.user)
    with pytest.raises(NotFound):
        tokens.revoke_token(actor=viewer, token_id=token.pk)
    of_author = tokens.authenticate(plain)
    assert of_author is not None
    with pytest.raises(NotAllowed):
        make(of_author, user=admin.user)
    with pytest.raises(NotFound):
        tokens.revoke_token(actor=admin, token_id=0)


@pytest.mark.parametrize("change", [{"name": ""}, {"name": "x" * 101}, {"scopes": ["emperor"]}, {"scopes": [""]}])
def test_nonsense_is_refused(author: Actor, change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        make(author, **change)


def test_the_command_prints_the_token_and_nothing_else(author: Actor) -> None:
    out = StringIO()
    call_command("create_token", "arno", name="ci", expires_days=7, stdout=out)
    plain = out.getvalue()
    assert plain.endswith("\n") and plain.count("\n") == 1
    actor = tokens.authenticate(plain.strip())
    assert actor is not None and actor.name == "arno"
    expires_at = ApiToken.objects.get().expires_at
    assert expires_at is not None and timedelta(days=6) < expires_at - timezone.now() <= timedelta(days=7)
    for wrong in (("nobody",), ("arno", "--expires-days", "0"), ("arno", "--scope", "emperor")):
        with pytest.raises(CommandError):
            call_command("create_token", *wrong)
