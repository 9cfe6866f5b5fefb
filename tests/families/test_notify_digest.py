"""Digests: a burst goes out as one message, once, whatever happens to who sends it and to the server."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from django.db import connection

from flows.steps.notify import digesting, together
from resources.access import Actor
from resources.connections import delete_connection, get, update_connection
from resources.limits.actions import set_limits
from resources.models import Notice, NoticeDelivery, NoticeDigest
from resources.notices import deliveries, digests, forgetting
from resources.stop import Stop
from tests.families.attempt import NOW, Attempt, attempt, output
from tests.families.mailserver import Box
from tests.families.outside import Outside
from tests.families.test_notify import chat, mail, people

pytestmark = pytest.mark.db_matrix
__all__ = ["chat", "mail", "people"]
Json = Any
ADMIN = Actor.system("tests")
MINUTE = 60.0


def told(n: int = 1, *, at: float = NOW, key: str = "down", **config: Json) -> Attempt:
    known: dict[str, Any] = {name: config.pop(name) for name in ("flow", "test") if name in config}
    base = {"connection": "mail", "to": ["ana@example.com"], "title": f"Message {n}", "text": f"It is **{n}**"}
    known = {"run_id": f"run{n}", "now": at, **known, "key": f"run{n}:tell:1"}
    return attempt("notify", {**base, "digest": {"key": key, "within": "1m"}, **config}, **known)


def send_due(now: float) -> int:
    """What the keeper does, in this thread. How many went out or were tried."""
    count = 0
    while (row := digests.claim(now)) is not None:
        digesting.send(row, now, Stop())
        count += 1
    return count


def states() -> list[str]:
    return list(NoticeDelivery.objects.exclude(channel="").order_by("pk").values_list("status", flat=True))


def test_a_burst_goes_out_as_one_message_at_the_end_of_its_window(mail: Box, people: Any) -> None:
    for n in range(1, 4):
        done = told(n, at=NOW + n, people={"users": ["ana"]})
    (inside, outside) = output(done)["channels"]
    assert output(done)["failed"] == 0 and (inside["status"], outside["status"]) == ("sent", "waiting")
    assert outside["digest"] == {"key": "down", "messages": 3, "due_at": NOW + 1 + MINUTE}
    assert Notice.objects.count() == 3 and mail.got == []
    assert send_due(NOW + 60) == 0 and send_due(NOW + 61) == 1
    (message,) = mail.got
    assert message["Subject"] == "3 messages: Message 1"
    plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None and html is not None
    assert [f"It is **{n}**" in plain.get_content() for n in (1, 2, 3)] == [True] * 3
    assert "/runs/run2>" in plain.get_content() and "<strong>3</strong>" in html.get_content()
    assert states() == ["sent"] * 3
    sent = deliveries.of_run("run2", "step")[0]
    assert sent["message_id"] == message["Message-ID"] and sent["digest"]["due_at"] is None
    assert set(NoticeDelivery.objects.values_list("text", flat=True)) == {""}


def test_what_comes_later_opens_the_next_window_and_one_alone_goes_out_as_it_is(mail: Box) -> None:
    told(1)
    send_due(NOW + 61)
    told(2, at=NOW + 62)
    assert send_due(NOW + 100) == 0 and send_due(NOW + 122) == 1
    assert [m["Subject"] for m in mail.got] == ["Message 1", "Message 2"]
    assert len({m["Message-ID"] for m in mail.got}) == 2


def test_only_what_is_told_to_the_same_people_by_the_same_flow_goes_together(mail: Box, chat: Outside) -> None:
    told(1)
    told(2, key="else")
    told(3, to=["ben@example.com"])
    told(4, flow="another")
    told(5, test=True)
    told(6, connection="chat", to=[])
    assert send_due(NOW + 61) == 6
    assert len(mail.got) == 5 and len(chat.seen) == 1


def test_an_attempt_that_is_repeated_adds_nothing(mail: Box) -> None:
    assert output(told(1)) == output(told(1))
    send_due(NOW + 61)
    assert output(told(1, at=NOW + 62))["channels"][0]["status"] == "sent"
    assert send_due(NOW + 999) == 0 and len(mail.got) == 1


def test_more_than_are_listed_are_counted(mail: Box) -> None:
    for n in range(1, 6):
        told(n, digest={"key": "down", "within": "1m", "max": 2})
    send_due(NOW + 61)
    body = mail.got[0].get_body(("plain",))
    assert body is not None and "and 3 more messages" in body.get_content() and "Message 3" not in body.get_content()
    assert mail.got[0]["Subject"].startswith("5 messages") and states() == ["sent"] * 5


def test_nothing_is_lost_while_the_server_is_down_and_it_is_still_one_message(mail: Box) -> None:
    told(1)
    mail.says = ["451 later", "451 later"]
    assert send_due(NOW + 61) == 1 and states() == ["waiting"]
    row = NoticeDigest.objects.get()
    assert row.tries == 1 and row.due_at > NOW + 75 and "451 later" in NoticeDelivery.objects.get().error
    told(2, at=NOW + 62)  # joins what has not gone out
    assert send_due(NOW + 90) == 1 and states() == ["waiting"] * 2
    assert send_due(NOW + 1000) == 1 and states() == ["sent"] * 2
    assert [m["Subject"] for m in mail.got] == ["2 messages: Message 1"]


def test_what_came_while_a_message_was_being_sent_in_vain_goes_with_it(mail: Box) -> None:
    told(1)
    row = digests.claim(NOW + 61)
    assert row is not None
    told(2, at=NOW + 62)
    assert NoticeDigest.objects.count() == 2
    digests.later(row, NOW + 63, error="It is down.")
    only = NoticeDigest.objects.get()
    assert (only.count, only.tries, only.opened_at, only.due_at) == (2, 1, NOW, NOW + 63 + 15)
    send_due(NOW + 100)
    assert [m["Subject"] for m in mail.got] == ["2 messages: Message 1"]


def test_a_sender_that_died_before_it_handed_over_loses_nothing(mail: Box) -> None:
    told(1)
    lost = digests.claim(NOW + 61)
    assert lost is not None and send_due(NOW + 62) == 0
    assert send_due(NOW + 61 + digests.LEASE) == 1 and len(mail.got) == 1
    with pytest.raises(digests.Lost):
        digests.hand_over(lost)
    with pytest.raises(digests.Lost):
        digests.end(lost, "failed", NOW)
    with pytest.raises(digests.Lost):
        digests.later(lost, NOW, error="x")
    assert states() == ["sent"]


@pytest.mark.parametrize(("repeat", "status", "sent"), [(False, "unknown", 0), (True, "sent", 1)])
def test_a_sender_that_died_while_it_handed_over_leaves_an_unknown_outcome(
    mail: Box, repeat: bool, status: str, sent: int
) -> None:
    told(1, repeat_unknown=repeat)
    lost = digests.claim(NOW + 61)
    assert lost is not None
    digests.hand_over(lost)
    send_due(NOW + 61 + digests.LEASE)
    assert states() == [status] and len(mail.got) == sent
    assert sent or "whether it was sent is unknown" in NoticeDelivery.objects.get().error


def test_a_connection_cut_after_the_message_is_not_sent_again(mail: Box) -> None:
    told(1)
    mail.says = [""]
    send_due(NOW + 61)
    assert send_due(NOW + 9999) == 0 and states() == ["unknown"] and len(mail.got) == 1


def test_a_refusal_for_good_is_a_failure_and_an_operators_retry_tells_again(mail: Box) -> None:
    mail.refuses = {"ana@example.com": "550 no such person"}
    told(1)
    send_due(NOW + 61)
    assert states() == ["failed"] and "550 no such" in NoticeDelivery.objects.get().error
    mail.refuses = {}
    assert output(told(1, at=NOW + 100))["channels"][0]["status"] == "waiting"
    send_due(NOW + 161)
    assert states() == ["sent"]


def test_a_mended_connection_is_used_and_one_that_is_gone_is_said(mail: Box) -> None:
    right = get("mail").settings
    told(1)
    update_connection(actor=ADMIN, name="mail", settings={**right, "port": 1})
    send_due(NOW + 61)
    assert states() == ["waiting"] and "could not be reached" in NoticeDelivery.objects.get().error
    update_connection(actor=ADMIN, name="mail", settings=right)
    send_due(NOW + 100)
    assert states() == ["sent"]
    told(2, at=NOW + 200)
    delete_connection(actor=ADMIN, name="mail")
    send_due(NOW + 300)
    assert states() == ["sent", "failed"] and "There is no connection" in NoticeDelivery.objects.last().error  # type: ignore[union-attr]


def test_it_is_given_up_after_three_days_and_limits_hold_it_back(mail: Box) -> None:
    set_limits(actor=ADMIN, name="mail", limits={"rate": {"count": 1, "per": "hour"}})
    told(1)
    told(2, key="else")
    assert send_due(NOW + 61) == 2 and sorted(states()) == ["sent", "waiting"]
    held = NoticeDigest.objects.get(status="open")
    assert held.tries == 0 and "1 a hour" in held.error
    NoticeDigest.objects.filter(pk=held.pk).update(opened_at=NOW - digests.GIVE_UP)
    mail.says = ["451 later"]
    send_due(NOW + 4000)
    assert sorted(states()) == ["failed", "sent"]
    assert "Given up after 3 days" in NoticeDelivery.objects.get(status="failed").error


def test_old_digests_are_forgotten_with_their_messages(mail: Box) -> None:
    told(1)
    send_due(NOW + 61)
    forgetting.turn(NOW + 91 * 86_400)
    assert not NoticeDigest.objects.exists() and not NoticeDelivery.objects.exists()


def test_a_chat_message_of_many_has_each_of_them_and_no_text_swallows_the_next(chat: Outside) -> None:
    for n in (1, 2):
        told(n, connection="chat", to=[], title=f"*Job* {n}", text="```\nopen\n" * 1)
    send_due(NOW + 61)
    said = json.loads(chat.seen[0].body)["message"]
    assert said.count("```") % 2 == 0 or "<code>" in said
    assert "Job" in said and "2 messages" in json.loads(chat.seen[0].body)["title"]


def test_texts_are_escaped_cut_and_closed() -> None:
    parts = [
        together.Part("a *b* <c>", "~~~\nx" + "y" * 9000, NOW),
        together.Part("two", "", NOW, "https://o.example/r"),
    ]
    whole = together.compose(parts, 5)
    assert "**a \\*b\\* \\<c\\>**" in whole.texts[0] and whole.texts[0].endswith("~~~\n\n… (cut)")
    assert "<https://o.example/r>" in whole.texts[1] and whole.texts[2].startswith("… and 3 more messages")
    assert len(together.compose([together.Part("t", "z" * 4000, NOW)] * 500, 500).text) < 120_000


@pytest.mark.django_db(transaction=True)
def test_many_at_once_join_one_digest_and_two_keepers_send_one_message(mail: Box) -> None:
    def join(n: int) -> None:
        try:
            told(n)
        finally:
            connection.close()

    _together([threading.Thread(target=join, args=(n,)) for n in range(8)])
    assert NoticeDigest.objects.get().count == 8
    duties = [digesting.Duty() for _ in range(2)]

    def turn(duty: digesting.Duty) -> None:
        try:
            duty.turn(NOW + 61)
        finally:
            connection.close()

    _together([threading.Thread(target=turn, args=(duty,)) for duty in duties])
    end = time.monotonic() + 60
    while "waiting" in states() and time.monotonic() < end:
        time.sleep(0.02)
    for duty in duties:
        duty.finish()
    assert states() == ["sent"] * 8
    assert [str(m["Subject"])[:11] for m in mail.got] == ["8 messages:"]


def _together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
