"""The text filter of dead letters: what it finds is what is shown."""

from __future__ import annotations

from runs.dead.letters import Filter, dead_letters
from runs.models import Run
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
