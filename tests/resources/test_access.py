"""Who may do what: role × needed role × folder."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.test import RequestFactory

from resources import audit
from resources.access import Actor, can, folder_filter, folders_for, includes, require
from resources.errors import BadInput, NotAllowed, NotSignedIn
from resources.grants import grant_role, revoke_role
from resources.models import Artifact, Blob, Grant
from tests.resources.conftest import make_user

pytestmark = pytest.mark.db_matrix

ROLES = ["viewer", "author", "operator", "reviewer", "admin"]
#: held role -> roles it includes
INCLUDED = {
    "viewer": {"viewer"},
    "author": {"viewer", "author"},
    "operator": {"viewer", "operator"},
    "reviewer": {"viewer", "reviewer"},
    "admin": set(ROLES),
}
#: granted folder, asked folder, reached?
FOLDERS = [
    ("", "", True),
    ("", "payments", True),
    ("", "payments/eu", True),
    ("payments", "payments", True),
    ("payments", "payments/eu", True),
    ("payments", "", False),
    ("payments", "pay", False),
    ("payments", "payments-old", False),
    ("payments/eu", "payments", False),
]


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("wanted", ROLES)
def test_each_role_includes_what_it_should_and_no_more(held: str, wanted: str) -> None:
    assert includes(held, wanted) == (wanted in INCLUDED[held])


@pytest.mark.django_db
@pytest.mark.parametrize(("granted", "asked", "reached"), FOLDERS)
@pytest.mark.parametrize("held", ROLES)
def test_a_grant_reaches_its_folder_and_what_is_below_it(held: str, granted: str, asked: str, reached: bool) -> None:
    actor = Actor.of_user(make_user("uma", held, folder=granted))
    assert {role for role in ROLES if can(actor, role, asked)} == (INCLUDED[held] if reached else set())


@pytest.mark.django_db
def test_a_group_gives_its_members_its_roles() -> None:
    user, group = make_user("uma"), Group.objects.create(name="release-managers")
    Grant.objects.create(group=group, role="reviewer", folder="payments")
    assert not can(Actor.of_user(user), "reviewer", "payments")
    user.groups.add(group)
    assert can(Actor.of_user(user), "reviewer", "payments/eu")


@pytest.mark.django_db
def test_a_superuser_is_admin_everywhere_unless_inactive() -> None:
    user = make_user("root")
    user.is_superuser = True
    assert can(Actor.of_user(user), "admin", "anything")
    user.is_active = False
    assert not can(Actor.of_user(user), "viewer", "anything")


def test_the_system_may_all_and_a_trigger_starts_runs_of_its_folder_only() -> None:
    assert can(Actor.system("timer"), "admin", "payments")
    trigger = Actor.trigger("github", "payments")
    assert can(trigger, "operator", "payments")
    assert not can(trigger, "operator", "other")
    assert not can(trigger, "author", "payments")
    assert not can(Actor("trigger", "bare"), "viewer", "payments")


@pytest.mark.django_db
def test_a_token_may_what_both_its_user_and_its_scopes_allow() -> None:
    user = make_user("uma", "author", folder="payments")
    narrow = Actor("token", "uma", user, scopes=("viewer", "operator:payments"))
    assert can(narrow, "viewer", "payments")
    assert not can(narrow, "author", "payments"), "the scopes do not include it"
    assert not can(narrow, "operator", "payments"), "the user is no operator"
    assert can(Actor("token", "uma", user), "author", "payments"), "no scopes: everything its user may"


@pytest.mark.django_db
def test_require_names_the_role_and_the_folder_that_are_missing(viewer: Actor) -> None:
    with pytest.raises(NotAllowed) as caught:
        require(viewer, "author", "payments")
    assert "author" in caught.value.message and "payments" in caught.value.message
    assert caught.value.details == {"role": "author", "folder": "payments"}


@pytest.mark.django_db
def test_grants_are_read_once_for_an_actor(django_assert_num_queries: Any) -> None:
    actor = Actor.of_user(make_user("uma", "viewer", folder="payments"))
    with django_assert_num_queries(1):
        assert [can(actor, role, "payments") for role in ROLES] == [True, False, False, False, False]
        assert folders_for(actor, "viewer") == ["payments"]


@pytest.mark.django_db
def test_folders_for_names_the_topmost_folders() -> None:
    user = make_user("uma", "author", folder="payments")
    Grant.objects.create(user=user, role="viewer", folder="payments/eu")
    Grant.objects.create(user=user, role="viewer", folder="ops")
    actor = Actor.of_user(user)
    assert folders_for(actor, "viewer") == ["ops", "payments"]
    assert folders_for(actor, "author") == ["payments"]
    assert folders_for(actor, "admin") == []
    assert folders_for(Actor.system("x"), "admin") is None
    scoped = Actor("token", "uma", user, scopes=("viewer:payments/eu",))
    assert folders_for(scoped, "viewer") == ["payments/eu"]


@pytest.mark.django_db
def test_folder_filter_keeps_the_rows_one_may_see() -> None:
    blob = Blob.objects.create(sha256="0" * 64, size=0, key="00/0", created_at=0)
    for folder in ("payments", "payments/eu", "payments-old", "ops", ""):
        Artifact.objects.create(blob=blob, size=0, folder=folder)
    actor = Actor.of_user(make_user("uma", "viewer", folder="payments"))

    def seen(actor: Actor) -> set[str]:
        return set(Artifact.objects.filter(folder_filter(actor, "viewer")).values_list("folder", flat=True))

    assert seen(actor) == {"payments", "payments/eu"}
    assert seen(Actor.of_user(make_user("otto"))) == set()
    assert len(seen(Actor.system("x"))) == 5


@pytest.mark.django_db
def test_a_request_has_one_actor_and_a_stranger_none() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7")
    request.user = AnonymousUser()
    with pytest.raises(NotSignedIn):
        Actor.of(request)
    request.user = make_user("uma")
    assert Actor.of(request) is Actor.of(request)
    assert (Actor.of(request).name, Actor.of(request).address) == ("uma", "192.0.2.7")
    request.auth = Actor("token", "uma")  # type: ignore[attr-defined]
    assert Actor.of(request).kind == "token"


def test_granting_is_for_admins_of_the_folder_and_is_audited(admin: Actor, author: Actor, outsider: Actor) -> None:
    with pytest.raises(NotAllowed):
        grant_role(actor=author, user=outsider.user, role="viewer", folder="payments")
    for _ in range(2):
        grant_role(actor=admin, user=outsider.user, role="viewer", folder="/payments/")
    assert can(Actor.of_user(outsider.user), "viewer", "payments")
    assert revoke_role(actor=admin, user=outsider.user, role="viewer", folder="payments")
    assert not revoke_role(actor=admin, user=outsider.user, role="viewer", folder="payments")
    assert not can(Actor.of_user(outsider.user), "viewer", "payments")
    assert audit.head()[0] == 2
    with pytest.raises(BadInput):
        grant_role(actor=admin, role="viewer")
