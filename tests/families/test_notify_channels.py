"""notify by several channels: each is sent, recorded and tried again by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.definition.bindings import Place, Sides
from flows.definition.canonical import digest
from flows.definition.lint import Known, lint
from flows.resolve import ResolveError, resolve_action
from flows.steps.base import Done, Fail, Retry
from flows.steps.registry import family
from flows.uses import named_in
from resources.access import Actor
from resources.connections import get, update_connection
from resources.limits.actions import set_limits, switch_circuit
from resources.models import ConnectionLimit, NoticeDelivery
from tests.families.attempt import NOW, attempt, error, output, resolve
from tests.families.mailserver import Box
from tests.families.outside import Outside
from tests.families.test_notify import chat, chat_connection, mail

pytestmark = pytest.mark.db_matrix
__all__ = ["chat", "mail"]
Json = Any
ADMIN = Actor.system("tests")
BOTH: Json = {"channels": [{"connection": "mail", "to": ["ana@example.com"]}, {"connection": "chat"}], "title": "Done"}


def states(attempted: Any) -> dict[str, str]:
    return {c["channel"]: c["status"] for c in output(attempted)["channels"]}


def test_all_channels_get_it_and_each_is_recorded(mail: Box, chat: Outside) -> None:
    done = attempt("notify", {**BOTH, "text": "All **good**"})
    assert states(done) == {"mail": "sent", "chat": "sent"} and output(done)["failed"] == 0
    assert [m["Subject"] for m in mail.got] == ["Done"] and json.loads(chat.seen[0].body)["title"] == "Done"
    assert family("notify").describe(done.action) == "Tells ana@example.com by the connections mail and chat: Done"


def test_what_has_it_does_not_get_it_again_when_another_is_tried_again(mail: Box, chat: Outside) -> None:
    mail.refuses = {"ana@example.com": "451 4.7.1 come back later"}
    first = attempt("notify", BOTH, again=lambda cls: cls == "rate_limited")
    assert isinstance(first.outcome, Retry) and len(chat.seen) == 1
    assert {d.channel: d.status for d in NoticeDelivery.objects.all()} == {"mail": "failed", "chat": "sent"}
    mail.refuses = {}
    assert states(attempt("notify", BOTH)) == {"mail": "sent", "chat": "sent"}
    assert len(mail.got) == 1 and len(chat.seen) == 1


def test_one_that_may_have_gone_out_holds_up_no_other(mail: Box, chat: Outside) -> None:
    mail.says = [""]
    done = attempt("notify", BOTH, again=lambda cls: True)
    assert states(done) == {"mail": "unknown", "chat": "sent"} and output(done)["failed"] == 1
    failed = attempt("notify", {**BOTH, "must": True})
    assert isinstance(failed.outcome, Fail) and error(failed) == "unknown_outcome"
    assert len(mail.got) == 1 and len(chat.seen) == 1


def test_one_connection_twice_is_two_messages_with_ids_of_their_own(mail: Box) -> None:
    config = {"channels": [{"connection": "mail", "to": [f"{n}@example.com"]} for n in ("ana", "ben")], "title": "T"}
    assert states(attempt("notify", config)) == {"mail": "sent", "mail#2": "sent"}
    assert states(attempt("notify", config)) == {"mail": "sent", "mail#2": "sent"}
    assert mail.to == [["ana@example.com"], ["ben@example.com"]]
    assert len({m["Message-ID"] for m in mail.got}) == 2


def test_a_channel_whose_connection_changed_after_it_was_worked_out_sends_nothing_at_all(
    mail: Box, chat: Outside
) -> None:
    action = resolve("notify", BOTH)
    assert [c["name"] for c in family("notify").connections(action)] == ["mail", "chat"]
    update_connection(actor=ADMIN, name="chat", settings={**get("chat").settings, "allow_networks": []})
    assert digest(resolve("notify", BOTH).to_json()) != digest(action.to_json())
    failed = attempt("notify", {}, action=action)
    assert error(failed) == "conflict" and mail.got == [] and chat.seen == []


def test_limits_of_a_channels_connection_count(mail: Box, chat: Outside) -> None:
    set_limits(actor=ADMIN, name="chat", limits={"rate": {"count": 1, "per": "hour"}})
    assert states(attempt("notify", BOTH))["chat"] == "sent"
    second = attempt("notify", BOTH, key="other")
    assert states(second) == {"mail": "sent", "chat": "failed"} and "1 a hour" in second.log[0]
    assert len(chat.seen) == 1


def test_an_open_breaker_turns_a_channel_away_and_failures_open_it(mail: Box, outside: Outside) -> None:
    chat_connection(outside.url.replace("http://", "json://") + "/status/500", "chat")
    rules = {"failures": 2, "window": 3000, "open_for": 6000}
    set_limits(actor=ADMIN, name="chat", limits={"breaker": rules})
    for n in range(3):
        attempt("notify", BOTH, key=f"k{n}", now=NOW + 1000 * n)  # later, however slow the machine
    assert ConnectionLimit.objects.get().book["breaker"] == "open" and len(outside.seen) == 2
    held = NoticeDelivery.objects.get(key="k2", channel="chat")
    assert held.status == "failed" and "circuit open" in held.error and len(mail.got) == 3
    switch_circuit(actor=ADMIN, name="chat", opened=False, reason="mended")
    attempt("notify", BOTH, key="k3", now=NOW + 4000)
    assert len(outside.seen) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"connection": "mail", "to": ["a@b.example"], "channels": [{"connection": "chat"}]}, "give `connection` with"),
        ({"to": ["a@b.example"], "channels": [{"connection": "mail"}]}, "give `connection` with"),
        ({"channels": [{"connection": "mail"}]}, "1 to 1000 addresses"),
        ({"channels": [{"connection": "chat", "to": ["a@b.example"]}]}, "go with an smtp connection"),
        ({"channels": [{"connection": "chat"}], "attachments": ["res://x"]}, "none among the channels"),
        ({"channels": [{"connection": "nowhere"}]}, "There is no connection 'nowhere'"),
        ({"channels": [{"connection": "chat"}] * 11}, "at most 10"),
        ({"channels": [{"to": ["a@b.example"]}]}, "connection"),
        ({"channels": [{"connection": "mail; DROP TABLE"}]}, "connection"),
        ({"channels": "mail"}, "channels"),
        ({"channels": [{"connection": "mail", "to": ["a@b.example\r\nX: y"]}]}, "is not one e-mail address"),
    ],
)  # fmt: skip
def test_a_hostile_list_is_refused_before_anything_is_sent(mail: Box, chat: Outside, config: Json, said: str) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve("notify", {**config, "title": "T"})
    assert said in raised.value.message and mail.got == [] and chat.seen == []


def test_a_flow_names_its_channels_and_bindings_say_what_they_stand_for(mail: Box, db: None) -> None:
    from flows.models import Binding

    source = "flow: f\nsteps:\n  - id: t\n    notify: {title: T, channels: [{connection: ops, to: [a@b.example]}]}\n"
    assert named_in(source) == {"ops"}
    problems = lint(source, known=Known(connections={"mail": "smtp", "web": "http"}))
    assert [p.rule for p in problems if p.severity == "error"] == ["unknown-connection"]
    kinds = {"notify": ("smtp", "apprise")}
    bound = {("", "ops"): Sides("web", "mail")}
    problems = lint(source, known=Known(connections={"mail": "smtp", "web": "http"}, bindings=bound, kinds=kinds))
    assert [p.rule for p in problems if p.severity == "error"] == ["wrong-connection-kind"]
    Binding.objects.create(name="ops", live="mail", test="mail")
    config = {"title": "T", "channels": [{"connection": "ops", "to": ["a@b.example"]}]}
    action = resolve_action("t", "notify", config, {}, place=Place("f"))
    assert action.config["channels"][0]["connection"]["name"] == "mail"
    assert isinstance(attempt("notify", {}, action=action).outcome, Done) and len(mail.got) == 1


def test_a_plan_of_a_release_names_the_connections_of_its_channels() -> None:
    from flows.definition.compiler import compile_source

    plan, _ = compile_source("flow: f\nsteps:\n  - id: t\n    notify: {title: T, channels: [{connection: ops}]}\n")
    assert plan is not None and plan.connections == {"ops"}
