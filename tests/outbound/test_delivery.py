"""One keeper's duty against an endpoint: what arrives, what is tried again, what is given up."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from resources.access import Actor
from resources.models import AuditEntry, Grant
from runs.models import Delivery, Subscription
from runs.outbound import claims, policy
from runs.outbound.duty import Outbox
from runs.outbound.replay import replay_dead, replay_deliveries, replay_since
from runs.outbound.subscriptions import (
    create_subscription,
    pause_subscription,
    resume_subscription,
    rotate_secret,
    send_test,
)
from tests.outbound.conftest import make_flow, make_run, tell, turn
from tests.outbound.receiver import Endpoint, status
from tests.resources.conftest import make_user

Subscribe = Any
#: what has nothing to do with the database's kind
one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow within a tenth of a second."""
    monkeypatch.setattr(policy, "FIRST", 0.05)
    monkeypatch.setattr(policy, "FACTOR", 1.0)


def test_each_event_arrives_once_signed_and_with_its_id(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    made = subscribe()
    run = make_run(make_flow(), "run.created", "run.started", "step.started", "step.succeeded", "run.succeeded")
    tell(run, "step.log", lines=["not published"])
    turn(outbox)
    assert sorted(receiver.ids()) == [f"evt_{run.pk}_{n}" for n in range(1, 6)]
    for got in receiver.received:
        assert got.signed_by(made.secret)
        assert not got.signed_by("whsec_" + "A" * 44)
        assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert got.event["id"] == got.id
        assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert set(Delivery.objects.values_list("status", "attempts")) == {("delivered", 1)}


@one_database
def test_only_what_was_asked_for_leaves(receiver: Endpoint, subscribe: Subscribe, outbox: Outbox) -> None:
    subscribe("failures", "run.failed", path="/types")
    subscribe("payments", "run.*", path="/folder", folders=["payments"])
    cards = make_flow("cards", "payments/cards")
    subscribe("flow", "run.*", path="/flow", flows=["cards"])
    other = make_run(make_flow("other", "elsewhere"), "run.failed")
    paid = make_run(cards, "run.started")
    turn(outbox)
    assert receiver.ids("/types") == [f"evt_{other.pk}_1"]
    assert receiver.ids("/folder") == receiver.ids("/flow") == [f"evt_{paid.pk}_1"]


def test_only_what_happened_since_it_was_made_leaves(receiver: Endpoint, admin: Actor, outbox: Outbox) -> None:
    from runs.outbound.destinations import Wanted

    run = make_run(make_flow(), "run.created")
    create_subscription(actor=admin, name="ops", wanted=Wanted(types=("*",), connection="local", path="/"))
    tell(run, "run.started")
    turn(outbox)
    assert receiver.ids() == [f"evt_{run.pk}_2"]


@one_database
@pytest.mark.parametrize("answer", [500, 404, 301, 429])
def test_a_refusal_is_tried_again_with_the_same_id_and_a_signature_of_its_own(
    answer: int, receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    made = subscribe()
    refusals = [3]

    def answers(handler: Any) -> None:
        refusals[0] -= 1
        status(answer if refusals[0] >= 0 else 200, b"busy", Location="http://127.0.0.1:1/")(handler)

    receiver.answers["/"] = answers
    run = make_run(make_flow(), "run.failed")
    turn(outbox)
    assert receiver.ids() == [f"evt_{run.pk}_1"] * 4  # a redirect was not followed
    assert all(got.signed_by(made.secret) for got in receiver.received)
    assert len({got.body for got in receiver.received}) == 1
    row = Delivery.objects.get()
    assert (row.status, row.attempts, row.last_status) == ("delivered", 4, 200)
    assert [one["status"] for one in row.tries] == [answer] * 3 + [200]


@one_database
def test_retry_after_is_honoured(receiver: Endpoint, subscribe: Subscribe, outbox: Outbox) -> None:
    subscribe()
    receiver.answers["/"] = status(503, Retry_After="120")
    make_run(make_flow(), "run.failed")
    turn(outbox, lambda: Delivery.objects.filter(last_status=503).exists())
    wake_at = Delivery.objects.get().wake_at
    assert wake_at is not None
    assert 100 < wake_at - time.time() <= 121


def test_what_is_refused_to_the_end_is_a_dead_letter_that_can_be_replayed(
    receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MAX_ATTEMPTS", 2)
    subscribe()
    receiver.answers["/"] = status(500, b"no")
    run = make_run(make_flow(), "run.failed", "run.created")
    turn(outbox, lambda: Delivery.objects.filter(status="dead").count() == 2)
    assert replay_dead(actor=admin, name="ops", types=["run.failed"], dry_run=True) == 1
    assert Delivery.objects.filter(status="dead").count() == 2
    receiver.answers["/"] = status(200)
    assert replay_dead(actor=admin, name="ops", types=["run.failed"]) == 1
    turn(outbox)
    assert set(Delivery.objects.values_list("type", "status")) == {("run.failed", "delivered"), ("run.created", "dead")}
    assert receiver.times()[f"evt_{run.pk}_1"] == 3
    one = Delivery.objects.get(status="dead")
    assert replay_deliveries(actor=admin, name="ops", deliveries=[one.pk]) == 1
    turn(outbox)
    assert not Delivery.objects.exclude(status="delivered").exists()


def test_everything_from_a_point_in_the_history_is_sent_again(
    receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox
) -> None:
    run = make_run(make_flow())
    base = time.time() - 1000
    for n in range(6):
        tell(run, "run.started", at=base + n)
    subscribe()
    Subscription.objects.update(since=base + 3)
    turn(outbox)
    assert len(receiver.ids()) == 3
    Delivery.objects.filter(event__seq=4).delete()  # as housekeeping does
    replay_since(actor=admin, name="ops", at=base + 2)
    turn(outbox)
    assert receiver.times() == {f"evt_{run.pk}_3": 1, **{f"evt_{run.pk}_{n}": 2 for n in (4, 5, 6)}}


def test_an_endpoint_that_is_gone_pauses_the_subscription_and_says_so(
    receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox
) -> None:
    subscribe()
    receiver.answers["/"] = status(410)
    run = make_run(make_flow(), "run.failed")
    turn(outbox, lambda: not Subscription.objects.get().enabled)
    assert "410" in Subscription.objects.get().note
    assert AuditEntry.objects.filter(action="subscription.paused").exists()
    tell(run, "run.created")
    for _ in range(5):
        outbox.run(time.time())
    receiver.answers["/"] = status(200)
    resume_subscription(actor=admin, name="ops")
    turn(outbox)
    assert receiver.times() == {f"evt_{run.pk}_1": 1, f"evt_{run.pk}_2": 1}


def test_what_happens_while_it_is_paused_is_sent_at_resume(
    receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox
) -> None:
    subscribe()
    pause_subscription(actor=admin, name="ops", note="moving")
    run = make_run(make_flow(), "run.failed")
    for _ in range(10):
        outbox.run(time.time())
    assert receiver.received == []
    resume_subscription(actor=admin, name="ops")
    turn(outbox)
    assert receiver.ids() == [f"evt_{run.pk}_1"]


@one_database
@pytest.mark.parametrize("behaviour", ["silent", "drips", "endless", "hangs up", "nobody"])
def test_an_endpoint_that_misbehaves_costs_one_attempt(
    behaviour: str, receiver: Endpoint, subscribe: Subscribe, outbox: Outbox, settings: Any
) -> None:
    settings.OUTBOUND_TIMEOUT_SECONDS = 1.5 if behaviour in ("drips", "endless") else 0.4  # it says 200 before that
    over = threading.Event()

    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000000")
        handler.end_headers()
        while not over.wait(0.02 if behaviour == "drips" else 0):
            handler.wfile.write(b"x" if behaviour == "drips" else b"x" * 65536)

    def hang_up(handler: Any) -> None:
        handler.connection.close()

    def silent(handler: Any) -> None:
        over.wait(60)

    kinds = {"silent": silent, "drips": drip, "endless": drip, "hangs up": hang_up}
    receiver.answers["/"] = kinds.get(behaviour, status(200))
    subscribe()
    if behaviour == "nobody":
        from resources.models import Connection

        Connection.objects.update(settings={"base_url": "http://127.0.0.1:9", "allow_networks": ["127.0.0.0/8"]})
    make_run(make_flow(), "run.failed")
    turn(outbox, lambda: Delivery.objects.exclude(tries=[]).exists())
    over.set()
    row = Delivery.objects.get()
    if behaviour in ("drips", "endless"):  # it said 200 before it went on and on
        assert (row.status, row.last_status, len(row.excerpt) <= 2048) == ("delivered", 200, True)
    else:
        assert (row.status, row.last_status, bool(row.last_error)) == ("pending", None, True)


@one_database
def test_an_address_that_came_to_be_private_is_refused_when_it_is_sent_to(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    subscribe()
    Subscription.objects.update(connection="", path="", url=receiver.url)
    make_run(make_flow(), "run.failed")
    turn(outbox, lambda: Delivery.objects.exclude(tries=[]).exists())
    assert receiver.received == []
    assert "loopback" in Delivery.objects.get().last_error


def test_one_slow_endpoint_delays_no_other(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox, settings: Any
) -> None:
    settings.OUTBOUND_TIMEOUT_SECONDS = 60.0
    over = threading.Event()

    def slow(handler: Any) -> None:
        over.wait(60)
        status(200)(handler)

    receiver.answers["/slow"] = slow
    subscribe("slow", path="/slow")
    subscribe("quick", path="/quick")
    run = make_run(make_flow(), *["run.started"] * 40)
    turn(outbox, lambda: len(receiver.ids("/quick")) == 40 and len(receiver.ids("/slow")) >= claims.AT_ONCE)
    assert len(receiver.ids("/slow")) == claims.AT_ONCE  # and no more than its share at once
    over.set()
    turn(outbox)
    assert sorted(receiver.ids("/slow")) == sorted(f"evt_{run.pk}_{n}" for n in range(1, 41))


@one_database
def test_while_a_secret_is_changed_both_sign_and_then_the_new_one_alone(
    receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox
) -> None:
    old = subscribe().secret
    new = rotate_secret(actor=admin, name="ops").secret
    run = make_run(make_flow(), "run.failed")
    turn(outbox)
    assert receiver.received[0].signed_by(old)
    assert receiver.received[0].signed_by(new)
    Subscription.objects.update(old_until=time.time() - 1)
    tell(run, "run.created")
    turn(outbox)
    assert not receiver.received[1].signed_by(old)
    assert receiver.received[1].signed_by(new)


def test_an_owner_who_may_not_view_a_folder_gets_nothing_of_it_even_what_was_on_its_way(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    subscribe()
    receiver.answers["/"] = status(500)
    run = make_run(make_flow(), "run.failed")
    turn(outbox, lambda: Delivery.objects.filter(last_status=500).exists())
    before = len(receiver.received)
    Grant.objects.all().delete()
    turn(outbox, lambda: Delivery.objects.filter(status="dead").exists())
    assert "may no longer view" in Delivery.objects.get().last_error
    tell(run, "run.created")
    turn(outbox)
    assert Delivery.objects.count() == 1
    assert len(receiver.received) <= before + 1  # at most the attempt that was under way


@one_database
def test_a_test_is_sent_like_any_other(receiver: Endpoint, subscribe: Subscribe, admin: Actor, outbox: Outbox) -> None:
    made = subscribe("ops", "run.failed")
    sent = send_test(actor=admin, name="ops")
    turn(outbox)
    (got,) = receiver.received
    assert (got.event["type"], got.id, got.signed_by(made.secret)) == (
        "orchestra.test.v1", f"evt_test_{sent.pk}", True,
    )  # fmt: skip


@one_database
def test_what_the_endpoint_echoes_is_kept_without_the_secret(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    secret = subscribe().secret
    receiver.answers["/"] = status(400, f"bad key {secret}\0".encode())
    make_run(make_flow(), "run.failed")
    turn(outbox, lambda: Delivery.objects.filter(last_status=400).exists())
    assert Delivery.objects.get().excerpt == "bad key •••"


def test_a_delivery_taken_over_is_recorded_by_its_new_holder_alone(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox
) -> None:
    subscribe()
    make_run(make_flow(), "run.failed")
    now = time.time()
    outbox._horizon.look()
    from runs.outbound import reader

    reader.read_on(outbox._horizon.safe, now)
    (first,) = claims.claim("one", 10, now)
    assert claims.claim("two", 10, now) == []
    later = now + claims.lease() + 1
    (second,) = claims.claim("two", 10, later)
    claims.record("one", [claims.Sent(first.pk, first.fence, policy.Answer(500))], later, lambda: 0.5)
    assert Delivery.objects.get().owner == "two"
    claims.record("two", [claims.Sent(second.pk, second.fence, policy.Answer(200))], later, lambda: 0.5)
    row = Delivery.objects.get()
    assert (row.status, row.attempts, [one["status"] for one in row.tries]) == ("delivered", 2, [None, 200])


@one_database
def test_one_that_cannot_be_written_stops_no_other(
    receiver: Endpoint, subscribe: Subscribe, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.outbound import duty, letters

    def broken(delivery: Delivery, now: float) -> Any:
        if delivery.type == "run.created":
            raise KeyError("a bug")
        return letters.write(delivery, now)

    monkeypatch.setattr(duty, "write", broken)
    subscribe()
    run = make_run(make_flow(), "run.created", "run.failed")
    turn(outbox, lambda: receiver.ids() == [f"evt_{run.pk}_2"] and Delivery.objects.exclude(last_error="").exists())
    assert Delivery.objects.get(type="run.created").last_error == duty.BROKE


@one_database
def test_an_owner_is_needed(admin: Actor) -> None:
    from resources.errors import NotAllowed
    from runs.outbound.destinations import Wanted

    wanted = Wanted(types=("*",), connection="local")
    with pytest.raises(NotAllowed):
        create_subscription(actor=Actor.system("x"), name="a", wanted=wanted)
    with pytest.raises(NotAllowed):
        create_subscription(actor=Actor.of_user(make_user("vera", "viewer")), name="a", wanted=wanted)
