"""The versions of a secret: a new value beside the one before, revoked, restored; nobody reads any of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from resources import crypto, secret_versions, secrets
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.models import AuditEntry, Secret, SecretVersion

pytestmark = pytest.mark.db_matrix


def put(admin: Actor, *values: str, overlap: float = 0.0) -> Secret:
    for value in values:
        secret = secrets.set_secret(actor=admin, name="hook", value=value, overlap=overlap)
    return secret


def test_without_an_overlap_only_the_new_value_is_accepted(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876")
    assert secrets.reveal_all("hook") == ["second-value-9876"]


def test_values_within_their_overlap_are_accepted_the_current_one_first(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", "third-value-5678", overlap=3600)
    assert secrets.reveal_all("hook") == ["third-value-5678", "second-value-9876", "first-value-1234"]
    assert secrets.reveal("hook") == "third-value-5678"


def test_an_overlap_ends(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", overlap=3600)
    SecretVersion.objects.filter(version=1).update(valid_until=timezone.now().timestamp() - 1)
    assert secrets.reveal_all("hook") == ["second-value-9876"]


@pytest.mark.parametrize("overlap", [-1, 91 * 86400, float("nan"), float("inf")])
def test_an_overlap_out_of_bounds_is_refused(admin: Actor, overlap: float) -> None:
    put(admin, "first-value-1234")
    with pytest.raises(BadInput) as caught:
        put(admin, "second-value-9876", overlap=overlap)
    assert caught.value.details[0]["path"] == "overlap"
    assert secrets.reveal("hook") == "first-value-1234"


def test_a_revoked_version_is_accepted_no_more_and_its_value_is_gone(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", overlap=3600)
    former = secret_versions.revoke_version(actor=admin, name="hook", version=1)
    assert secrets.reveal_all("hook") == ["second-value-9876"]
    assert (former.ciphertext, former.revoked_by) == (None, admin.name)
    again = secret_versions.revoke_version(actor=admin, name="hook", version=1)
    assert again.revoked_at == former.revoked_at
    assert AuditEntry.objects.filter(action="secret.version_revoked").count() == 1
    with pytest.raises(Conflict) as caught:
        secret_versions.restore_version(actor=admin, name="hook", version=1)
    assert caught.value.stable_code == "version_erased"


def test_the_version_in_use_is_neither_revoked_nor_restored(admin: Actor) -> None:
    put(admin, "first-value-1234")
    for action in (secret_versions.revoke_version, secret_versions.restore_version):
        with pytest.raises(Conflict) as caught:
            action(actor=admin, name="hook", version=1)
        assert caught.value.stable_code == "current_version"


def test_going_back_makes_a_new_version(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876")
    secret = secret_versions.restore_version(actor=admin, name="hook", version=1, overlap=60)
    assert (secret.version, secret.last4) == (3, "1234")
    assert secrets.reveal_all("hook") == ["first-value-1234", "second-value-9876"]
    assert [(v.version, v.restores, v.created_by) for v in secret_versions.history("hook")] == [
        (3, 1, admin.name), (2, None, admin.name), (1, None, admin.name),
    ]  # fmt: skip


def test_the_last_values_are_kept_and_older_ones_erased(admin: Actor) -> None:
    put(admin, *(f"value-number-{n:04}" for n in range(secret_versions.MAX_KEPT + 3)))
    kept = [v.version for v in secret_versions.history("hook") if v.kept]
    assert kept == list(range(secret_versions.MAX_KEPT + 2, 2, -1))
    assert secret_versions.history("hook").count() == secret_versions.MAX_KEPT + 3


def test_a_former_value_moved_to_another_version_does_not_open(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", "third-value-5678", overlap=3600)
    first = SecretVersion.objects.get(version=1)
    SecretVersion.objects.filter(version=2).update(ciphertext=first.ciphertext)
    with pytest.raises(crypto.CannotDecrypt):
        secrets.reveal_all("hook")


def test_a_value_lost_with_its_key_can_be_set_again(admin: Actor, settings: Any) -> None:
    put(admin, "first-value-1234")
    settings.ENCRYPTION_KEYS = {"k9": next(iter(settings.ENCRYPTION_KEYS.values()))}
    assert put(admin, "second-value-9876", overlap=60).version == 2
    assert secrets.reveal_all("hook") == ["second-value-9876"]


def test_a_version_that_is_not_there_is_said(admin: Actor) -> None:
    put(admin, "first-value-1234")
    with pytest.raises(NotFound, match="no version 7"):
        secret_versions.revoke_version(actor=admin, name="hook", version=7)
    with pytest.raises(NotFound, match="no secret"):
        secret_versions.restore_version(actor=admin, name="gone", version=1)


def test_only_admins_revoke_and_restore(admin: Actor, author: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", overlap=3600)
    for action in (secret_versions.revoke_version, secret_versions.restore_version):
        with pytest.raises(NotAllowed):
            action(actor=author, name="hook", version=1)
    assert len(secrets.reveal_all("hook")) == 2


def test_no_version_is_read_back_by_a_listing_or_the_audit_log(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", overlap=3600)
    secret_versions.restore_version(actor=admin, name="hook", version=1)
    seen = f"{[vars(v) for v in secret_versions.history('hook')]} {[e.data for e in AuditEntry.objects.all()]}"
    assert "ciphertext" not in seen.replace("'ciphertext': None", "")
    assert "value" not in seen
    assert "value" not in repr(secret_versions.Value(b"first-value-1234", "1234"))


def test_deleting_takes_the_versions_along(admin: Actor) -> None:
    put(admin, "first-value-1234", "second-value-9876", overlap=3600)
    secrets.delete_secret(actor=admin, name="hook")
    assert not SecretVersion.objects.exists()
    assert timezone.now() - timedelta(days=1) < AuditEntry.objects.order_by("-seq")[0].at
