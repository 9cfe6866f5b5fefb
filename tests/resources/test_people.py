"""People, groups and the roles they have: who may change them, what ends with them, and the admin who stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from resources import tokens
from resources.access import Actor, can
from resources.errors import BadInput, Conflict, Gone, NotAllowed, NotFound
from resources.grants import grant_role, revoke_grant, revoke_role
from resources.models import ApiToken, AuditEntry, Grant, Notice, Session
from resources.people import accounts, groups, listing, reminders
from resources.people.rules import Source, because
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.db_matrix, pytest.mark.django_db]


def parts(link: str) -> tuple[str, str]:
    uid, token = link.rsplit("/", 2)[1:]
    return uid, token


# -- invitations -------------------------------------------------------------------------------------------------------
def test_an_invited_person_chooses_a_password_once_by_the_link(admin: Actor) -> None:
    user = accounts.invite_person(actor=admin, name="nina", email="nina@example.org", full_name="Nina Ny")
    uid, token = parts(accounts.link_for(user))
    assert not Client().login(username="nina", password="a quiet harbour")
    with pytest.raises(BadInput):
        accounts.accept_invitation(uid=uid, token=token, password="short")
    accounts.accept_invitation(uid=uid, token=token, password="a quiet harbour")
    assert Client().login(username="nina", password="a quiet harbour")
    with pytest.raises(Gone):
        accounts.accept_invitation(uid=uid, token=token, password="another harbour")
    assert token not in str(list(AuditEntry.objects.values()))


def test_the_first_person_is_invited_from_the_shell_by_a_link_that_works(client: Client) -> None:
    out = StringIO()
    call_command("invite", "ada", "--admin", "--email", "ada@example.org", "--role", "operator:payments", stdout=out)
    link = out.getvalue()
    assert link.startswith(settings.PUBLIC_URL) and link.count("\n") == 1
    assert client.get(f"/invitations/{'/'.join(parts(link.strip()))}").status_code == 200
    ada = accounts.accept_invitation(
        uid=parts(link)[0], token=parts(link.strip())[1], password="a quiet harbour"
    )  # fmt: skip
    assert can(Actor.of_user(ada), "admin") and ada.email == "ada@example.org"
    assert {(g.role, g.folder) for g in Grant.objects.filter(user=ada)} == {("admin", ""), ("operator", "payments")}
    assert AuditEntry.objects.get(action="person.invited").actor == "manage.py invite"
    again = StringIO()
    call_command("invite", "ada", "--again", stdout=again)
    assert not Client().login(username="ada", password="a quiet harbour")
    assert accounts.invited(*parts(again.getvalue().strip())) == ada


@pytest.mark.parametrize(
    "wrong",
    [["ada", "--role", "emperor"], ["ada", "--role", "viewer:../x"], ["no space"], ["ada", "--email", "x"],
     ["nobody", "--again"], ["there"], ["there", "--again", "--email", "a@b.example"]],
)  # fmt: skip
def test_who_cannot_be_invited_is_not_there_and_the_reason_is_said(wrong: list[str]) -> None:
    make_user("there", "viewer")
    with pytest.raises(CommandError) as said:
        call_command("invite", *wrong, stdout=StringIO())
    assert str(said.value).endswith(".")
    assert [user.username for user in User.objects.all()] == ["there"]


def test_a_reset_ends_the_password_the_sessions_and_earlier_links(admin: Actor) -> None:
    user = make_user("nina", "viewer")
    client = Client()
    assert client.login(username="nina", password="correct horse")
    first = accounts.link_for(accounts.reset_person(actor=admin, name="nina"))
    assert client.get("/api/v1/me").status_code == 401 and not Session.objects.filter(user=user).exists()
    assert not Client().login(username="nina", password="correct horse")
    second = accounts.link_for(accounts.reset_person(actor=admin, name="nina"))
    with pytest.raises(Gone):
        accounts.invited(*parts(first))
    assert accounts.invited(*parts(second)) == user


def test_a_link_is_over_after_its_time(admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    link = accounts.link_for(accounts.invite_person(actor=admin, name="nina"))
    monkeypatch.setattr(settings, "PASSWORD_RESET_TIMEOUT", -1)
    with pytest.raises(Gone):
        accounts.invited(*parts(link))


@pytest.mark.parametrize("link", [("", ""), ("MQ", "x-y"), ("____", "a"), ("9" * 400, "b"), ("é", "ü")])
def test_a_made_up_link_is_none(link: tuple[str, str], admin: Actor) -> None:
    with pytest.raises(Gone):
        accounts.invited(*link)


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "a b"}, {"name": "x" * 151}, {"email": "nope"}, {"full_name": "x" * 151}]
)
def test_nonsense_about_a_person_is_refused(admin: Actor, change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        accounts.invite_person(actor=admin, **{"name": "nina", **change})


def test_names_differ_by_more_than_their_capitals(admin: Actor) -> None:
    with pytest.raises(Conflict):
        accounts.invite_person(actor=admin, name="ADA")


# -- ending access -----------------------------------------------------------------------------------------------------
def test_switching_off_ends_sessions_and_tokens_and_on_again_brings_no_token_back(admin: Actor) -> None:
    user = make_user("nina", "viewer")
    client, (_, plain) = Client(), tokens.create_token(actor=Actor.of_user(user), user=user, name="x")
    client.force_login(user)
    accounts.deactivate_person(actor=admin, name="nina", reason="left")
    assert client.get("/api/v1/me").status_code == 401 and tokens.authenticate(plain) is None
    assert not Client().login(username="nina", password="correct horse")
    accounts.reactivate_person(actor=admin, name="nina")
    assert tokens.authenticate(plain) is None and client.get("/api/v1/me").status_code == 401
    assert Client().login(username="nina", password="correct horse")
    told = AuditEntry.objects.get(action="person.deactivated").data
    assert told == {"sessions": 1, "tokens": 1, "reason": "left"}


def test_signing_out_everywhere_leaves_tokens_unless_asked(admin: Actor) -> None:
    user = make_user("nina", "viewer")
    one, two, other = Client(), Client(), Client()
    for client in (one, two):
        client.force_login(user)
    other.force_login(admin.user)
    _, plain = tokens.create_token(actor=Actor.of_user(user), user=user, name="x")
    accounts.sign_out_person(actor=admin, name="nina")
    assert [c.get("/api/v1/me").status_code for c in (one, two, other)] == [401, 401, 200]
    assert tokens.authenticate(plain) is not None
    accounts.sign_out_person(actor=admin, name="nina", tokens=True)
    assert tokens.authenticate(plain) is None


def test_a_new_password_ends_all_other_sessions() -> None:
    user = make_user("nina", "viewer")
    here, there = Client(), Client()
    for client in (here, there):
        client.force_login(user)
    with pytest.raises(BadInput):
        accounts.change_password(actor=Actor.of_user(user), current="wrong", password="a quiet harbour")
    key = here.session.session_key
    accounts.change_password(
        actor=Actor.of_user(user), current="correct horse", password="a quiet harbour", session=key
    )
    assert set(Session.objects.values_list("session_key", flat=True)) == {key}


# -- the last admin ----------------------------------------------------------------------------------------------------
def _revoke(actor: Actor, user: User) -> None:
    revoke_role(actor=actor, role="admin", user=user)


def _off(actor: Actor, user: User) -> None:
    accounts.deactivate_person(actor=Actor.system("test"), name=user.username)


@pytest.mark.parametrize("change", [_revoke, _off])
def test_the_last_admin_of_everything_stays(admin: Actor, change: Callable[[Actor, User], None]) -> None:
    make_user("deputy", "admin", folder="pay")  # administers a folder: not enough
    gone = make_user("gone", "admin")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    with pytest.raises(Conflict, match="administer everything"):
        change(admin, admin.user)
    assert can(Actor.of_user(User.objects.get(pk=admin.user.pk)), "admin")
    make_user("second", "admin")
    change(admin, admin.user)


def test_the_last_admin_through_a_group_stays(admin: Actor) -> None:
    group = groups.create_group(actor=admin, name="admins")
    make_user("nina")
    groups.add_member(actor=admin, name="admins", member="nina")
    grant_role(actor=admin, role="admin", group=group)
    _revoke(admin, admin.user)
    nina = Actor.of_user(User.objects.get(username="nina"))
    for change in (
        lambda: groups.delete_group(actor=nina, name="admins"),
        lambda: groups.remove_member(actor=nina, name="admins", member="nina"),
        lambda: revoke_role(actor=nina, role="admin", group=group),
    ):
        with pytest.raises(Conflict):
            change()
    assert can(Actor.of_user(nina.user), "admin")


def test_nobody_switches_themselves_off(admin: Actor) -> None:
    make_user("second", "admin")
    with pytest.raises(Conflict, match="yourself"):
        accounts.deactivate_person(actor=admin, name=admin.name)


# -- grants ------------------------------------------------------------------------------------------------------------
def test_who_administers_a_folder_gives_roles_there_and_nowhere_else() -> None:
    deputy, nina = Actor.of_user(make_user("deputy", "admin", folder="pay")), make_user("nina")
    grant = grant_role(actor=deputy, role="admin", folder="pay/eu", user=nina, reason="on call")
    assert (grant.reason, grant.created_by) == ("on call", "deputy")
    for folder in ("", "payments", "other"):
        with pytest.raises(NotAllowed):
            grant_role(actor=deputy, role="viewer", folder=folder, user=deputy.user)
    elsewhere = Grant.objects.create(user=nina, role="viewer", folder="other")
    with pytest.raises(NotFound):
        revoke_grant(actor=deputy, grant_id=elsewhere.pk)
    revoke_grant(actor=deputy, grant_id=grant.pk, reason="no more")
    assert AuditEntry.objects.get(action="role.revoked").data["reason"] == "no more"


def test_admins_of_a_folder_change_no_people_and_no_groups() -> None:
    deputy = Actor.of_user(make_user("deputy", "admin", folder="pay"))
    make_user("nina")
    Group.objects.create(name="crew")
    for change in (
        lambda: accounts.invite_person(actor=deputy, name="x"),
        lambda: accounts.reset_person(actor=deputy, name="nina"),
        lambda: accounts.deactivate_person(actor=deputy, name="nina"),
        lambda: groups.add_member(actor=deputy, name="crew", member="deputy"),
        lambda: groups.create_group(actor=deputy, name="x"),
    ):
        with pytest.raises(NotAllowed):
            change()


@pytest.mark.parametrize("change", [{"role": "emperor"}, {"folder": "a\0b"}, {"folder": "-x"}, {"reason": "x" * 501}])
def test_nonsense_about_a_grant_is_refused(admin: Actor, change: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        grant_role(actor=admin, user=admin.user, **{"role": "viewer", **change})


def test_why_somebody_may_names_every_grant_that_says_so(admin: Actor) -> None:
    nina, crew = make_user("nina", "operator", folder="pay"), groups.create_group(actor=admin, name="crew")
    groups.add_member(actor=admin, name="crew", member="nina")
    grant_role(actor=admin, role="author", folder="pay/eu", group=crew)
    why = listing.explain(admin, nina, "start", "pay/eu/north")
    assert {source.says for source in why} == {"operator on pay", "author on pay/eu, through the group crew"}
    assert listing.explain(admin, nina, "start", "payments") == []
    assert listing.explain(Actor.of_user(nina), nina, "decide", "pay") == []
    with pytest.raises(NotAllowed):
        listing.explain(Actor.of_user(nina), admin.user, "view", "pay")
    lines = {line.user.username: line.may for line in listing.on_folder(admin, "pay/eu")}
    assert set(lines) == {"ada", "nina"} and lines["nina"]["decide"] == [] and len(lines["nina"]["view"]) == 2


def test_because_agrees_with_what_is_allowed() -> None:
    for role in ("viewer", "author", "operator", "reviewer", "admin"):
        for folder in ("", "pay", "pay/eu", "payments"):
            found = because([Source(role, "pay", grant=1)], "view", folder)
            assert bool(found) == (folder == "pay" or folder.startswith("pay/"))


# -- tokens ------------------------------------------------------------------------------------------------------------
def test_a_demotion_takes_effect_on_a_token_at_once() -> None:
    user = make_user("nina", "operator", folder="pay")
    _, plain = tokens.create_token(actor=Actor.of_user(user), user=user, name="x", scopes=["operator:pay/eu"])

    def may(role: str, folder: str) -> bool:
        actor = tokens.authenticate(plain)
        return actor is not None and can(actor, role, folder)

    assert may("operator", "pay/eu") and not may("operator", "pay")
    Grant.objects.filter(user=user).update(role="viewer")
    assert not may("operator", "pay/eu") and may("viewer", "pay/eu")
    Grant.objects.filter(user=user).delete()
    assert not may("viewer", "pay/eu")


def test_a_token_is_not_made_for_more_than_its_owner_may(author: Actor) -> None:
    for scope in ("admin", "operator", "operator:pay"):
        with pytest.raises(BadInput, match="does not have the role"):
            tokens.create_token(actor=author, user=author.user, name="x", scopes=[scope])
    tokens.create_token(actor=author, user=author.user, name="x", scopes=["author:pay", "viewer"])


def test_a_token_makes_only_tokens_that_may_no_more_and_end_no_later(admin: Actor) -> None:
    _, plain = tokens.create_token(actor=admin, user=admin.user, name="x", days=2, scopes=["operator:pay"])
    maker = tokens.authenticate(plain)
    assert maker is not None
    made, _ = tokens.create_token(actor=maker, user=admin.user, name="y", days=300)
    assert made.scopes == ["operator:pay"] and made.expires_at == maker.token.expires_at
    with pytest.raises(BadInput):
        tokens.create_token(actor=maker, user=admin.user, name="z", scopes=["operator"])


def test_how_long_a_token_lives_is_set(author: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TOKEN_DAYS", 5)
    monkeypatch.setattr(settings, "TOKEN_MAX_DAYS", 10)
    token, _ = tokens.create_token(actor=author, user=author.user, name="x")
    assert token.expires_at is not None
    assert timedelta(days=4) < token.expires_at - timezone.now() <= timedelta(days=5)
    for days in (0, 11, -1):
        with pytest.raises(BadInput):
            tokens.create_token(actor=author, user=author.user, name="x", days=days)


def test_an_admin_of_a_folder_sees_and_ends_tokens_that_stay_within_it(admin: Actor) -> None:
    deputy = Actor.of_user(make_user("deputy", "admin", folder="pay"))
    made = {
        scope: tokens.create_token(actor=admin, user=admin.user, name="x", scopes=[scope] if scope else [])[0]
        for scope in ("operator:pay/eu", "operator:payments", "viewer", "")
    }
    assert [t.scopes for t in tokens.of_others(deputy, timezone.now())] == [["operator:pay/eu"]]
    for scope, token in made.items():
        if scope == "operator:pay/eu":
            tokens.revoke_token(actor=deputy, token_id=token.pk)
        else:
            with pytest.raises(NotFound):
                tokens.revoke_token(actor=deputy, token_id=token.pk)


def test_a_narrowed_token_ends_itself_and_no_other(author: Actor) -> None:
    one, plain = tokens.create_token(actor=author, user=author.user, name="x", scopes=["viewer"])
    other, _ = tokens.create_token(actor=author, user=author.user, name="y")
    actor = tokens.authenticate(plain, address="192.0.2.7")
    assert actor is not None and ApiToken.objects.get(pk=one.pk).last_used_from == "192.0.2.7"
    with pytest.raises(NotFound):
        tokens.revoke_token(actor=actor, token_id=other.pk)
    tokens.revoke_token(actor=actor, token_id=one.pk)
    assert tokens.authenticate(plain) is None


def test_people_are_told_once_a_week_and_once_a_day_before_a_token_ends(author: Actor) -> None:
    now = timezone.now().timestamp()
    token, _ = tokens.create_token(actor=author, user=author.user, name="ci", days=30)
    tokens.create_token(actor=author, user=author.user, name="brief", days=1)
    for day in (0, 22, 24, 24.5, 28, 29.5, 29.6, 31):
        reminders.turn(now + day * 86_400)
    assert [n.key for n in Notice.objects.order_by("at")] == [f"token:{token.pk}:7", f"token:{token.pk}:1"]


def test_nobody_is_told_of_a_token_that_was_ended(author: Actor) -> None:
    token, _ = tokens.create_token(actor=author, user=author.user, name="ci", days=30)
    tokens.revoke_token(actor=author, token_id=token.pk)
    reminders.turn(timezone.now().timestamp() + 29 * 86_400)
    assert not Notice.objects.exists()
