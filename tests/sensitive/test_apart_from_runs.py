"""Where values of runs are looked for or kept apart from them: the text filter of dead letters, kept events."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client

from runs.dead.letters import Filter, dead_letters
from runs.models import EventName, Run
from runs.named.delivery import deliver_event
from runs.named.triggers import on_live_changed
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, begin, make_flow
from tests.engine.conftest import database
from tests.engine.test_store_queue import drain

__all__ = ["database"]
CARD = "4111-2222-3333"
FAILS = """
flow: {slug}
input: {{type: object, properties: {{card: {{type: string{mark}}}}}}}
steps:
  - id: a
    function: {{code: "raise ValueError('no such card: ' + card)", input: {{card: "${{{{ input.card }}}}"}}}}
"""
CALLS = """
flow: above
input: {type: object, properties: {card: {type: string, x-sensitive: true}}}
steps:
  - {id: a, call: {flow: below, input: {card: "${{ input.card }}"}}}
"""


def found(text: str) -> set[str]:
    return set(dead_letters(SYSTEM, Filter(q=text)).values_list("flow__slug", flat=True))


def fails(slug: str, mark: str = "") -> None:
    begin(make_flow(FAILS.format(slug=slug, mark=mark)), card=CARD)


def test_what_a_mark_hides_is_not_found_and_the_rest_of_the_error_is(database: str) -> None:
    fails("plain")
    fails("marked", ", x-sensitive: true")
    drain(Worker("w"))
    assert Run.objects.filter(dead_at__isnull=False).count() == 2
    assert all(CARD in str(error) for error in Run.objects.values_list("error", flat=True))
    assert found(CARD) == {"plain"} == found("2222")
    assert found("no such card") == {"plain", "marked"} == found("NO SUCH")


def test_a_child_hides_what_its_caller_marks(database: str) -> None:
    fails("below")
    flow = make_flow(CALLS)
    drain(Worker("w"))
    begin(flow, card=CARD)
    drain(Worker("w"))
    assert Run.objects.filter(flow__slug="below", parent__isnull=False, status="failed").exists()
    assert {
        (r.flow.slug, r.parent_id is None) for r in dead_letters(SYSTEM, Filter(q=CARD)).select_related("flow")
    } == {("below", True)}


CARDS = "{type: object, properties: {card: {type: string, x-sensitive: true}}}"
WAITS = """
flow: waits
defaults: {timeout: 5s}
steps:
  - {id: a, wait: {event: {name: paid, timeout: 1h, schema: CARDS}}}
  - {id: b, wait: {first: {x: {event: {name: told, schema: CARDS}}, y: {callback: {}}}, timeout: 1h}}
"""
TAKES = """
flow: takes
input: CARDS
triggers: [{event: {name: came}}, {event: {name: mapped, input: {card: "${{ trigger.body.other }}"}}}]
steps: [{id: a, sleep: 1s}]
"""


def listed() -> dict[str, Any]:
    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username="root", is_superuser=True)[0])
    return {one["name"]: one["body"] for one in client.get("/api/v1/events").json()["items"]}


@pytest.mark.parametrize("times", [1, 2])
def test_a_kept_event_is_listed_without_what_a_schema_marks(database: str, times: int) -> None:
    for source in (WAITS, TAKES):
        flow = make_flow(source.replace("CARDS", CARDS))
        assert flow.live is not None
        for _ in range(times):
            with transaction.atomic():
                on_live_changed(flow=flow, plan=flow.live.plan)
    body = {"card": CARD, "order": 3}
    for name in ("paid", "told", "came", "other"):
        deliver_event(actor=SYSTEM, name=name, key="1", body=body)
    hidden = {"card": "[sensitive]", "order": 3}
    assert listed() == {"paid": hidden, "told": hidden, "came": hidden, "other": body}
    assert [len(row.marks or ()) for row in EventName.objects.exclude(marks=None)] == [1, 1, 1]
    assert CARD in str(Run.objects.get(flow__slug="takes").input), "the engine has the true value"
