"""A keeper killed while it sends digests: what nobody had goes out once, what somebody may have is not repeated."""

from __future__ import annotations

import time

from resources.access import Actor
from resources.connections import get, update_connection
from resources.models import NoticeDelivery, NoticeDigest
from resources.notices import digests
from resources.notices.deliveries import Sender
from tests.engine.cluster import wait_until
from tests.families.mailserver import serving
from tests.families.test_notify import mail_connection
from tests.families.test_notify_hostile import GREET, OK, peer
from tests.schedules.test_keepers import keepers


def _join(connection: str, n: int) -> None:
    wanted = digests.Wanted("f", "down", connection, "smtp", ("ana@example.com",))
    message = digests.Message(f"Message {n}", "", 1)
    sender = Sender(f"{connection}:{n}", f"run{n}", "tell", None)
    digests.join(sender, wanted, message, channel=connection, within=1.0, most=50, now=time.time() - 60)


def _status(connection: str) -> set[str]:
    return set(NoticeDelivery.objects.filter(channel=connection).values_list("status", flat=True))


def test_a_keeper_killed_before_and_while_it_hands_over(database: str) -> None:
    with peer(GREET, OK, hold=True) as early, peer(GREET, OK, OK, OK, b"354 go\r\n", hold=True) as late:
        mail_connection(early, "early")
        mail_connection(late, "late")
        for n in range(3):
            _join("early", n)
            _join("late", n)
        with keepers(database, 1) as processes:
            wait_until(lambda: NoticeDigest.objects.filter(status="sending").count() == 2)
            wait_until(lambda: NoticeDigest.objects.filter(handed=True).exists())
            processes[0].kill()
            processes[0].wait()
    assert _status("early") == _status("late") == {"waiting"}
    NoticeDigest.objects.update(due_at=0.0)  # as if the killed one's time were over
    with serving() as box:
        for name in ("early", "late"):
            settings = {**get(name).settings, "port": box.port}
            update_connection(actor=Actor.system("tests"), name=name, settings=settings)
        with keepers(database, 1):  # two side by side: tests/families/test_notify_digest.py
            wait_until(lambda: _status("early") == {"sent"} and _status("late") == {"unknown"})
    assert [m["Subject"] for m in box.got] == ["3 messages: Message 0"]
