"""The parts of the feed that decide, without a database."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runs.feed.gaps import GapCursor
from runs.feed.hub import MOST_AT_ONCE, Hub
from runs.feed.notices import Event, coalesce, frame, topics_of
from runs.feed.viewers import Viewer


def event(id_: int, type_: str = "step.succeeded", run: str = "r", step: str = "s", folder: str = "") -> Event:
    return Event(id_, run, id_, type_, step, -1, 0.0, "flow", folder)


@given(st.permutations(range(1, 30)), st.integers(1, 5))
def test_every_id_is_told_once_whatever_the_order_of_commits(order: list[int], batch: int) -> None:
    cursor, committed, told = GapCursor(0), set[int](), list[int]()
    for start in range(0, len(order), batch):
        committed |= set(order[start : start + batch])
        found = sorted(i for i in committed if i > cursor.last or i in cursor.missing)
        told += [e.id for e in cursor.take([event(i) for i in found], now=0.0)]
    assert sorted(told) == sorted(order)


def test_a_missing_id_is_given_up_after_the_longest_transaction() -> None:
    cursor = GapCursor(0, patience=30.0)
    cursor.take([event(3)], now=0.0)
    assert cursor.missing == [1, 2]
    cursor.take([], now=31.0)
    assert cursor.missing == []


def test_a_leap_of_the_sequence_does_not_fill_the_memory() -> None:
    cursor = GapCursor(0)
    cursor.take([event(10**12)], now=0.0)
    assert len(cursor.missing) == GapCursor.MOST


def test_topics_of_events() -> None:
    assert topics_of(event(1, "run.failed")) == ("run:r", "runs", "flow:flow")
    assert topics_of(event(1, "step.log")) == ("run:r",)
    assert topics_of(event(1, "approval.decided")) == ("run:r", "inbox")


def test_a_list_hears_the_last_of_each_run_and_a_run_each_step() -> None:
    told = coalesce([event(1, step="a"), event(2, step="b"), event(3, step="b"), event(4, run="other")])
    assert [e.id for topic, e in told if topic == "runs"] == [3, 4]
    assert [e.id for topic, e in told if topic == "run:r"] == [1, 3]


def test_a_frame_says_what_changed_and_nothing_of_it() -> None:
    assert json.loads(frame("runs", event(7))) == {
        "topic": "runs", "run": "r", "flow": "flow", "type": "step.succeeded", "step": "s", "item": -1, "seq": 7,
        "at": 0.0, "id": 7,
    }  # fmt: skip


def test_a_viewer_sees_the_folders_below_a_grant_and_no_namesakes() -> None:
    viewer = Viewer(1)
    assert not viewer.sees("")
    viewer.folders = ["pay"]
    assert [viewer.sees(f) for f in ("pay", "pay/eu", "payments", "")] == [True, True, False, False]


class Ear:
    def __init__(self, folders: list[str] | None) -> None:
        self.viewer = Viewer(1)
        self.viewer.folders = folders
        self.viewer.checked_at = float("inf")
        self.heard: list[str] = []

    def push(self, text: str) -> None:
        self.heard.append(text)

    def drop(self, code: int) -> None:
        self.heard.append(f"dropped {code}")


async def _tell(hub: Hub, events: list[Event]) -> None:
    hub.viewers._grants = (1,)
    await hub.tell(events, (1,))


def test_too_much_at_once_becomes_one_refresh_for_those_who_may_see_it() -> None:
    import asyncio

    hub, may, other = Hub(), Ear(["pay"]), Ear(["ops"])
    for ear in (may, other):
        hub._sockets.add(ear)
        hub.set_topics(ear, ["run:r"])
    asyncio.run(_tell(hub, [event(n, step=f"s{n}", folder="pay") for n in range(1, MOST_AT_ONCE + 2)]))
    assert [json.loads(text) for text in may.heard] == [{"topic": "run:r", "type": "refresh"}]
    assert other.heard == []
