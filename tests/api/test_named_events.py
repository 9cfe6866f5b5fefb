"""POST and GET /events: who may, what they are told, and the flows an event starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows.actions import create_flow, release_draft
from resources.access import Actor
from resources.models import AuditEntry
from resources.tokens import create_token
from runs.models import EventListener, EventName, NamedEvent, Run
from tests.api.conftest import Caller
from tests.api.test_api import fails

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]

STARTED = """\
flow: {slug}
folder: team
input: {{type: object, required: [order], properties: {{order: {{type: integer}}}}}}
triggers:
  - event:
      name: shop.paid
      if: "${{{{ trigger.body.order > 10 }}}}"
      {more}
      input: {{order: "${{{{ trigger.body.order }}}}"}}
steps:
  - {{id: a, function: {{code: "1"}}}}
"""


@pytest.fixture
def ana(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    return call_as(person("ana", "operator", "team"))


def live(author: Actor, source: str, slug: str, version: str = "1.0.0") -> None:
    if version == "1.0.0":
        create_flow(actor=author, source=source)
    release_draft(actor=author, slug=slug, version=version, live=True)


def send(call: Caller, key: str, body: Any = None, name: str = "shop.paid", folder: str = "team") -> Any:
    return call("POST", "/events", {"name": name, "id": key, "body": body, "folder": folder})


def test_an_event_is_taken_once_by_its_id_and_audited(ana: Caller) -> None:
    first = send(ana, "a", {"order": 1})
    assert first.status_code == 202
    assert {k: first.json()[k] for k in ("name", "id", "folder", "duplicate", "triggered")} == {
        "name": "shop.paid", "id": "a", "folder": "team", "duplicate": False, "triggered": [],
    }  # fmt: skip
    again = send(ana, "a", {"order": 2})
    assert again.status_code == 202 and again.json() == {**first.json(), "duplicate": True}
    assert [e.data["id"] for e in AuditEntry.objects.filter(action="event.delivered")] == ["a"]
    listed = ana("GET", "/events?name=shop.paid").json()["items"]
    assert [(e["id"], e["body"], e["sender"]) for e in listed] == [("a", {"order": 1}, "ana")]


def test_events_are_listed_page_by_page_to_those_who_may_view(
    ana: Caller, call_as: Callable[[Any], Caller], person: Callable[..., Any]
) -> None:
    for n in range(3):
        send(ana, f"e{n}")
    page = ana("GET", "/events?limit=2").json()
    rest = ana("GET", f"/events?limit=2&cursor={page['next_cursor']}").json()
    assert [e["id"] for e in page["items"] + rest["items"]] == ["e2", "e1", "e0"] and rest["next_cursor"] is None
    stranger = call_as(person("eve", "viewer", "elsewhere"))
    assert stranger("GET", "/events").json()["items"] == []
    fails(ana("GET", "/events?cursor=nonsense"), 422, "bad_cursor")


def test_who_is_no_operator_of_the_folder_sends_nothing(
    ana: Caller, call_as: Callable[[Any], Caller], person: Callable[..., Any]
) -> None:
    fails(send(ana, "a", folder="elsewhere"), 403, "not_allowed")
    fails(send(ana, "a", folder=""), 403, "not_allowed")
    fails(send(call_as(person("vic", "viewer", "team")), "a"), 403, "not_allowed")
    fails(send(call_as(None), "a"), 401, "not_signed_in")
    assert not NamedEvent.objects.exists()


def test_a_token_that_is_narrowed_to_another_folder_sends_nothing(person: Callable[..., Any]) -> None:
    user = person("ana", "operator", "team")
    _, plain = create_token(actor=Actor.of_user(user), user=user, name="t", scopes=("operator:team/eu",))
    fails(send(Caller(plain), "a"), 403, "not_allowed")
    assert send(Caller(plain), "a", folder="team/eu").status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"id": "a"}, 422, "invalid_request"),
        ({"name": "x", "id": 5}, 422, "invalid_request"),
        ({"name": "x", "id": "a", "more": 1}, 422, "invalid_request"),
        ({"name": "x", "id": "a\0"}, 422, "invalid_request"),
        ({"name": "x y", "id": "a"}, 422, "bad_event_name"),
        ({"name": "x", "id": ""}, 422, "bad_event_id"),
        ({"name": "x", "id": "a", "folder": "../x"}, 422, "bad_folder"),
        ({"name": "x", "id": "a", "folder": "team", "body": "x" * 70_000}, 413, "event_too_large"),
        (b'{"name": "x", "id": "a", "body": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "too_deep"),
        (b"\xff\xfe", 400, "malformed_body"),
        (b"[]", 422, "invalid_request"),
    ],
)
def test_hostile_posts_are_refused_and_leave_nothing(ana: Caller, body: Any, status: int, code: str) -> None:
    fails(ana("POST", "/events", body), status, code)
    assert not NamedEvent.objects.exists() and not EventName.objects.exists()


def test_an_event_starts_the_flows_that_it_triggers_once(ana: Caller, author: Actor) -> None:
    live(author, STARTED.format(slug="bill", more=""), "bill")
    live(author, STARTED.format(slug="ship", more='dedupe: "${{ trigger.body.order }}"'), "ship")
    told = send(ana, "a", {"order": 12}).json()["triggered"]
    assert [(t["flow"], t["status"]) for t in told] == [("bill", "started"), ("ship", "started")]
    run = Run.objects.get(pk=told[0]["run"])
    assert run.input == {"order": 12}
    assert {k: run.trigger[k] for k in ("kind", "name", "id")} == {"kind": "event", "name": "shop.paid", "id": "a"}
    again = send(ana, "a", {"order": 99}).json()["triggered"]
    assert [(t["status"], t["run"]) for t in again] == [("duplicate", t["run"]) for t in told]
    other = send(ana, "b", {"order": 12}).json()["triggered"]
    assert [t["status"] for t in other] == ["started", "duplicate"]
    assert [t["status"] for t in send(ana, "c", {"order": 3}).json()["triggered"]] == ["ignored", "ignored"]
    assert Run.objects.count() == 3


def test_what_cannot_be_started_is_told_and_hinders_no_other(ana: Caller, author: Actor) -> None:
    live(author, STARTED.format(slug="bill", more="").replace("type: integer", "type: integer, maximum: 20"), "bill")
    live(author, STARTED.format(slug="ship", more=""), "ship")
    told = send(ana, "a", {"order": 30}).json()["triggered"]
    assert [(t["flow"], t["status"], t["code"]) for t in told] == [
        ("bill", "refused", "invalid_input"), ("ship", "started", ""),
    ]  # fmt: skip
    unreadable = send(ana, "b", "text").json()["triggered"]
    assert {(t["status"], t["code"]) for t in unreadable} == {("refused", "unreadable_event")}


def test_an_event_of_another_folder_starts_nothing(ana: Caller, author: Actor) -> None:
    live(author, STARTED.format(slug="bill", more=""), "bill")
    assert send(ana, "a", {"order": 12}, folder="team/eu").json()["triggered"] == []


def test_a_release_without_the_trigger_listens_no_more(ana: Caller, author: Actor) -> None:
    from flows.actions import save_draft

    source = STARTED.format(slug="bill", more="")
    live(author, source, "bill")
    assert EventListener.objects.count() == 1
    head, _, steps = source.partition("triggers:")
    plain = head + "steps:" + steps.split("steps:")[1]
    save_draft(actor=author, slug="bill", source=plain, revision=1)
    live(author, plain, "bill", "2.0.0")
    assert send(ana, "a", {"order": 12}).json()["triggered"] == []
    assert not EventListener.objects.exists()


def test_a_release_that_wants_events_kept_longer_has_its_way(author: Actor) -> None:
    source = "flow: slow\nfolder: team\nsteps:\n  - {id: w, wait: {event: {name: paid, keep: 3d, timeout: 1h}}}\n"
    live(author, source, "slow")
    assert EventName.objects.get(name="paid").keep == 3 * 86_400
