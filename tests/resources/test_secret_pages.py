"""The page of a secret: versions, reminders, values kept elsewhere; used as a browser without JavaScript would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.checks import Tags, run_checks
from django.utils import timezone

from resources import connections, secret_versions, secrets, warnings
from resources.access import Actor
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import AuditEntry, Secret
from resources.secret_age import age_of
from tests.resources.test_pages import browser, text, this_layer_alone  # noqa: F401  a fixture for every test here

pytestmark = pytest.mark.db_matrix
PAGE = "/secrets/token/edit"


@pytest.fixture
def token(admin: Actor) -> Secret:
    return secrets.set_secret(actor=admin, name="token", value="hidden-value-1234")


NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days_old", "rotate_days", "state"),
    [(400, None, "none"), (0, 30, "fresh"), (22, 30, "fresh"), (23, 30, "due"), (30, 30, "overdue"),
     (75, 90, "fresh"), (76, 90, "due"), (0, 1, "fresh"), (1, 1, "overdue"), (-1, 30, "fresh")],
)  # fmt: skip
def test_a_reminder_begins_two_weeks_or_a_quarter_before(days_old: int, rotate_days: int | None, state: str) -> None:
    age = age_of(NOW - timedelta(days=days_old), rotate_days, NOW)
    assert (age.state, age.days) == (state, max(0, days_old))


def test_a_reminder_is_set_audited_and_taken_away(admin: Actor, author: Actor, token: Secret) -> None:
    secrets.set_reminder(actor=admin, name="token", days=30)
    secrets.set_reminder(actor=admin, name="token", days=30)
    assert secrets.get("token").rotate_days == 30
    (entry,) = AuditEntry.objects.filter(action="secret.updated")
    assert entry.data == {"before": {"rotate_days": None}, "after": {"rotate_days": 30}}
    for days in (0, -1, 3651):
        with pytest.raises(BadInput):
            secrets.set_reminder(actor=admin, name="token", days=days)
    with pytest.raises(NotAllowed):
        secrets.set_reminder(actor=author, name="token", days=None)
    with pytest.raises(NotFound):
        secrets.set_reminder(actor=admin, name="gone", days=None)
    secrets.set_reminder(actor=admin, name="token", days=None)
    assert secrets.get("token").rotate_days is None


def test_of_a_value_kept_elsewhere_nobody_knows_the_age(
    admin: Actor, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRA_SECRET_A", "value-in-env")
    secrets.set_reminder(actor=admin, name="token", days=30)
    secrets.point_secret(actor=admin, name="token", source="env", locator={"variable": "ORCHESTRA_SECRET_A"})
    assert secrets.get("token").rotate_days is None
    with pytest.raises(BadInput, match="kept elsewhere"):
        secrets.set_reminder(actor=admin, name="token", days=30)


def test_old_secrets_and_a_ring_beside_the_data_are_noticed(admin: Actor, settings: Any) -> None:
    settings.ENCRYPTION_KEYS_FROM = "made"
    for n in range(7):
        secrets.set_secret(actor=admin, name=f"s{n}", value="some-value")
        secrets.set_reminder(actor=admin, name=f"s{n}", days=10)
    later = timezone.now() + timedelta(days=9)
    Secret.objects.filter(name="s6").update(rotated_at=timezone.now() - timedelta(days=5))
    found = {notice.code: notice.message for notice in warnings.notices(later)}
    assert list(found) == ["secrets_overdue", "secrets_due", "keys_beside_data"]
    assert found["secrets_overdue"] == "Too old: s6."
    assert found["secrets_due"] == "Soon too old: s0, s1, s2, s3, s4 and 1 more."
    assert [m.id for m in run_checks(tags=[Tags.security], include_deployment_checks=True) if m.id == "resources.W001"]
    settings.ENCRYPTION_KEYS_FROM = "file"
    assert warnings.notices(timezone.now() - timedelta(days=30)) == []
    assert warnings.keys_are_elsewhere(None) == []


def test_rotating_with_an_overlap_going_back_and_revoking(admin: Actor, token: Secret) -> None:
    client = browser(admin)
    page = text(client.post(PAGE, {"value": "hidden-two-9876", "overlap": "3600"}, follow=True))
    assert secrets.reveal_all("token") == ["hidden-two-9876", "hidden-value-1234"]
    assert "Accepted until" in page
    page = text(client.post("/secrets/token/versions/1/restore", follow=True))
    assert "token has the value of version 1 again." in page
    assert secrets.reveal("token") == "hidden-value-1234"
    page = text(client.post("/secrets/token/versions/2/revoke", follow=True))
    assert "Version 2 is accepted no more" in page
    assert f"Revoked by {admin.name}" in page
    assert "is the one in use" in text(client.post("/secrets/token/versions/3/revoke", follow=True))
    assert "is erased" in text(client.post("/secrets/token/versions/2/restore", follow=True))
    assert client.post("/secrets/token/versions/9/revoke").status_code == 404
    assert "hidden-" not in page


@pytest.mark.parametrize("overlap", ["x", "-1", "60"])
def test_an_overlap_that_was_not_offered_is_refused(admin: Actor, token: Secret, overlap: str) -> None:
    answer = browser(admin).post(PAGE, {"value": "hidden-two-9876", "overlap": overlap})
    assert answer.status_code == 422
    assert "hidden-two" not in text(answer)
    assert secrets.get("token").version == 1


def test_the_reminder_is_set_on_the_page(admin: Actor, token: Secret) -> None:
    client = browser(admin)
    assert "by " in text(client.post("/secrets/token/reminder", {"rotate_days": "90"}, follow=True))
    assert secrets.get("token").rotate_days == 90
    assert client.post("/secrets/token/reminder", {"rotate_days": "9999"}).status_code == 422
    Secret.objects.update(rotated_at=timezone.now() - timedelta(days=100))
    page = text(client.get("/secrets"))
    assert "1 secret is too old." in page
    assert "Overdue since" in page
    client.post("/secrets/token/reminder", {"rotate_days": ""})
    assert secrets.get("token").rotate_days is None


def test_a_value_kept_in_the_environment_is_named_and_not_shown(
    admin: Actor, viewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, data = browser(admin), {"name": "deploy", "source": "env", "variable": "ORCHESTRA_SECRET_DEPLOY"}
    refused = client.post("/secrets/new/elsewhere", data)
    assert (refused.status_code, Secret.objects.count()) == (422, 0)
    assert "The environment has no ORCHESTRA_SECRET_DEPLOY." in text(refused)
    monkeypatch.setenv("ORCHESTRA_SECRET_DEPLOY", "hidden-in-env-1234")
    page = text(client.post("/secrets/new/elsewhere", data, follow=True))
    assert "ORCHESTRA_SECRET_DEPLOY" in page
    assert "It is read from the environment each time" in page and "Keep deploy here" in page
    assert "hidden-in-env" not in page
    assert secrets.reveal("deploy") == "hidden-in-env-1234"
    assert "ORCHESTRA_SECRET" not in text(browser(viewer).get("/secrets"))
    wrong = text(client.post("/secrets/deploy/elsewhere", {"source": "vault", "path": "../x"}))
    assert "Write it as a/b/c" in wrong
    assert secret_versions.history("deploy").count() == 1


def test_the_page_of_a_secret_leads_to_the_connections_that_use_it(admin: Actor, token: Secret) -> None:
    auth = {"type": "bearer", "secret": "token"}
    settings = {"base_url": "https://shop.example", "auth": auth}
    connections.create_connection(actor=admin, name="shop", kind="http", settings=settings)
    assert '<a href="/connections/shop/edit">connection shop</a>' in text(browser(admin).get(PAGE))


def test_a_secret_is_added_from_beside_a_field_or_the_form_comes_back_without_its_value(
    admin: Actor, author: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser(admin)
    given = {"name": "pager", "source": "stored", "value": "hidden-value-1234"}
    answer = client.post("/secrets/new/quick", given)
    assert (answer.status_code, answer.json()) == (201, {"name": "pager"})
    assert secrets.reveal("pager") == "hidden-value-1234"
    again = client.post("/secrets/new/quick", given)
    assert again.status_code == 422
    assert "There is a secret pager already." in text(again)
    assert "hidden-value" not in text(again)
    assert client.post("/secrets/new/quick", {**given, "name": "empty", "value": ""}).status_code == 422
    monkeypatch.setenv("ORCHESTRA_SECRET_A", "value-in-env")
    there = {"name": "there", "source": "env", "variable": "ORCHESTRA_SECRET_A"}
    assert client.post("/secrets/new/quick", there).status_code == 201
    assert secrets.reveal("there") == "value-in-env"
    assert browser(author).post("/secrets/new/quick", {**given, "name": "mine"}).status_code == 403
    assert {s.name for s in secrets.list_secrets()} == {"pager", "there"}


def test_only_forms_with_something_secret_offer_to_add_a_secret(admin: Actor) -> None:
    client = browser(admin)
    assert 'id="new-secret"' in text(client.get("/connections/new/http"))
    assert 'id="new-secret"' not in text(client.get("/connections/new/sqlite"))


def test_trying_a_secret_says_whether_it_can_be_read_and_never_what_it_is(
    admin: Actor, author: Actor, token: Secret, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    client = browser(admin)
    assert "It can be read: the key ring opens it." in text(client.post("/secrets/token/test", follow=True))
    monkeypatch.setenv("ORCHESTRA_SECRET_A", "value-in-env")
    secrets.point_secret(actor=admin, name="there", source="env", locator={"variable": "ORCHESTRA_SECRET_A"})
    assert "from the environment" in text(client.post("/secrets/there/test", follow=True))
    monkeypatch.delenv("ORCHESTRA_SECRET_A")
    assert "The environment has no ORCHESTRA_SECRET_A." in text(client.post("/secrets/there/test", follow=True))
    settings.ENCRYPTION_KEYS = {"other": "A" * 43 + "="}
    assert "is not in the key ring" in text(client.post("/secrets/token/test", follow=True))
    entries = AuditEntry.objects.filter(action="secret.tested").order_by("seq")
    assert [(e.object_id, e.data["ok"]) for e in entries] == [
        ("token", True), ("there", True), ("there", False), ("token", False)
    ]  # fmt: skip
    assert "hidden-" not in str([e.data for e in entries])
    assert browser(author).post("/secrets/token/test").status_code == 403
    assert client.get("/secrets/token/test").status_code == 405
