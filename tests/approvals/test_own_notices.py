"""The product's own notices: who is told of what stopped by itself, once, and by e-mail too where they want that."""

from __future__ import annotations

import time
from typing import Any, get_args

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

from flows.steps.notify import digesting
from resources.access import Actor
from resources.connections import delete_connection
from resources.errors import BadInput, Conflict
from resources.grants import grant_role
from resources.limits.actions import set_limits, switch_circuit
from resources.models import ConnectionLimit, Grant, Notice, NoticeDigest, NoticeMute, Role, Secret
from resources.notices import api, audience, digests, inbox, mailing, people
from resources.notices.kinds import KINDS
from resources.notices.looking import EVERY
from resources.secrets import set_secret
from resources.stop import Stop
from runs import watching
from runs.models import Quarantine, Run
from runs.schedules.models import Schedule
from tests.approvals.conftest import World
from tests.families.mailserver import serving
from tests.families.test_notify import mail_connection

pytestmark = pytest.mark.db_matrix
NOW = 1_800_000_000.0
ADMIN = Actor.system("tests")


@pytest.fixture
def crew(world: World) -> dict[str, Any]:
    """One of each: op operates payments by a group, eve elsewhere, vic views payments, boss administers everything."""
    Grant.objects.all().delete()
    get_user_model().objects.update(is_superuser=False)
    made = {n: get_user_model().objects.create_user(n, f"{n}@example.com", "x") for n in ("op", "eve", "vic", "boss")}
    group = Group.objects.create(name="payers")
    made["op"].groups.add(group)
    grant_role(actor=ADMIN, role="operator", folder="payments", group=group)
    grant_role(actor=ADMIN, role="operator", folder="pay", user=made["eve"])
    grant_role(actor=ADMIN, role="viewer", folder="payments", user=made["vic"])
    grant_role(actor=ADMIN, role="admin", user=made["boss"])
    return made


def run_in(world: World, folder: str) -> Run:
    request = world.ask(step="a", title="first", now=time.time())
    run = Run.objects.select_related("flow").get(pk=request.run_id)
    run.flow.folder = folder
    run.flow.save(update_fields=["folder"])
    return run


def told(kind: str) -> set[str]:
    return set(Notice.objects.filter(kind=kind).values_list("user__username", flat=True))


def test_roles_reach_below_their_folder_and_groups_and_admins_count(crew: dict[str, Any]) -> None:
    def names(role: Role, folder: str = "") -> set[str]:
        return {n for n, user in crew.items() if user.pk in audience.holders(role, folder)}

    assert names(Role.OPERATOR, "payments/eu") == names(Role.OPERATOR, "payments") == {"op", "boss"}
    assert names(Role.OPERATOR, "pay") == {"eve", "boss"} and names(Role.OPERATOR, "other") == {"boss"}
    assert names(Role.ADMIN) == {"boss"}
    crew["op"].is_active = False
    crew["op"].save(update_fields=["is_active"])
    assert names(Role.OPERATOR, "payments") == {"boss"}


def test_those_who_operate_a_folder_are_told_once_of_what_stopped_there(world: World, crew: dict[str, Any]) -> None:
    run = run_in(world, "payments/eu")
    Run.objects.filter(pk=run.pk).update(dead_at=NOW, ended_at=NOW, status="failed", starter=crew["boss"])
    known: dict[str, Any] = {"cron": "* * * * *", "timezone": "UTC", "overlap": "skip", "catchup": 0.0, "jitter": 0.0}
    known |= {"paused_at": NOW, "paused_note": "3 *failed*"}
    for name, by in (("itself", "schedule"), ("by-hand", "op")):
        Schedule.objects.create(flow=run.flow, name=name, paused_by=by, **known)
    for digest, by in (("a", "keeper"), ("b", "op")):
        Quarantine.objects.create(flow=run.flow, digest=digest, reason="again", actor=by, run_id=run.pk, at=NOW)
    duty = watching.Duty()
    assert duty.turn(NOW + 5) == NOW + 5 + EVERY
    duty.turn(NOW + 20)
    watching.Duty().turn(NOW + 25)
    assert told("dead_letter") == {"op"}  # boss started it, and is told of it as theirs
    assert told("schedule_paused") == told("quarantined") == {"op", "boss"}
    assert Notice.objects.count() == 5
    schedule = Notice.objects.filter(kind="schedule_paused").first()
    assert schedule is not None and schedule.url.endswith("/schedules/itself") and schedule.text == "3 \\*failed\\*"
    refused = Notice.objects.filter(kind="quarantined").first()
    row = Quarantine.objects.get(actor="keeper")
    assert refused is not None and refused.url == f"/quarantine/{row.pk}"


def test_admins_are_told_of_breakers_and_of_secrets_that_grow_old(crew: dict[str, Any]) -> None:
    for name in ("mail", "other"):
        mail_connection(25, name)
        set_limits(actor=ADMIN, name=name, limits={"breaker": {}})
        switch_circuit(actor=ADMIN, name=name, opened=True, reason="x", now=NOW)
    row = ConnectionLimit.objects.get(connection__name="mail")
    row.book = {**row.book, "by": ""}  # as if it had opened by itself
    row.save(update_fields=["book"])
    set_secret(actor=ADMIN, name="old", value="x" * 20)
    set_secret(actor=ADMIN, name="young", value="x" * 20)
    Secret.objects.filter(name="old").update(rotate_days=1)
    soon = Secret.objects.get(name="old").rotated_at.timestamp() + 2 * 86_400
    watching.Duty().turn(NOW + 5)
    duty = watching.Duty()
    for later in (0, 20, 7200):
        duty.turn(soon + later)
    assert told("circuit") == told("secret_due") == {"boss"}
    titles = set(Notice.objects.values_list("title", flat=True))
    assert titles == {"The circuit breaker of the connection mail opened", "The secret old is too old"}
    Secret.objects.filter(name="old").update(rotated_at=Secret.objects.get(name="young").rotated_at)


def test_who_wants_e_mail_gets_one_for_a_burst_and_others_none(crew: dict[str, Any], settings: Any) -> None:
    settings.NOTICE_CONNECTION = "mail"
    op, boss = crew["op"], crew["boss"]
    with serving() as box:
        mail_connection(box.port)
        Run.objects.all().delete()
        with pytest.raises(Conflict, match="NOTICE_CONNECTION"):
            delete_connection(actor=ADMIN, name="mail")
        inbox.choose(actor=Actor.of_user(op), muted=["circuit"], mailed=["dead_letter"])
        for n in range(3):
            people.tell([op.pk, boss.pk], key=f"k{n}", kind="dead_letter", title=f"T{n}", url="/runs/x", now=NOW)
        people.tell([op.pk], key="c", kind="circuit", title="C", now=NOW)
        people.tell([op.pk], key="m", kind="message", title="M", now=NOW)
        assert mailing.turn(NOW) is None and mailing.turn(NOW) is None
        row = digests.claim(NOW + 61)
        assert row is not None and digests.claim(NOW + 61) is None
        digesting.send(row, NOW + 61, Stop())
    assert box.to == [["op@example.com"]] and box.got[0]["Subject"] == "3 messages: T0"
    body = box.got[0].get_body(("plain",))
    assert body is not None and f"{settings.PUBLIC_URL}/runs/x>" in body.get_content()
    assert Notice.objects.filter(user=op).count() == 4 and not Notice.objects.filter(mail=True).exists()


def test_where_no_e_mail_goes_out_it_cannot_be_chosen_and_is_not_waited_for(crew: dict[str, Any]) -> None:
    op = crew["op"]
    with pytest.raises(BadInput, match="NOTICE_CONNECTION"):
        inbox.choose(actor=Actor.of_user(op), muted=[], mailed=["message"])
    with pytest.raises(BadInput, match="cannot be turned off and come"):
        inbox.choose(actor=Actor.of_user(op), muted=["message"], mailed=["message"])
    NoticeMute.objects.create(user=op, kind="message", how="email")
    people.tell([op.pk], key="m", kind="message", title="M", now=NOW)
    assert mailing.turn(NOW) is None
    assert Notice.objects.get().mail is False and not NoticeDigest.objects.exists()
    client = Client()
    client.force_login(op)
    assert "No e-mail of notices goes out from here" in client.get("/notices").content.decode()
    told_all = {"told": sorted(KINDS), "mailed": ["message"]}
    assert client.post("/notices/settings", told_all).status_code == 302  # it was chosen before, and stays
    assert inbox.chosen(Actor.of_user(op)).mailed == ("message",)


def test_one_without_an_address_is_told_so(crew: dict[str, Any], settings: Any) -> None:
    settings.NOTICE_CONNECTION = "mail"
    mail_connection(25)
    crew["op"].email = ""
    crew["op"].save(update_fields=["email"])
    with pytest.raises(BadInput, match="has no e-mail address"):
        inbox.choose(actor=Actor.of_user(crew["op"]), muted=[], mailed=["message"])


def test_the_api_knows_every_kind() -> None:
    assert set(get_args(api.Kind)) == set(KINDS)
