"""What each person finds in the inbox, and at what cost."""

from __future__ import annotations

import time
from typing import Any

import pytest

from approvals import queries
from approvals.actions import decide_request
from tests.approvals.conftest import Engine, World, digest

pytestmark = pytest.mark.db_matrix
NOW = time.time()


def titles(requests: Any) -> list[str]:
    return [r.title for r in requests]


@pytest.mark.parametrize(
    ("name", "mine", "others"),
    [
        ("rita", ["soon", "anybody", "rita only"], ["managers", "expired"]),
        ("rolf", ["soon", "anybody", "managers"], ["rita only", "expired"]),
        ("olga", ["anybody"], ["soon", "rita only", "managers", "expired"]),
        ("vera", [], ["soon", "anybody", "rita only", "managers", "expired"]),
        ("otto", [], []),
    ],
)
def test_each_person_sees_what_they_may_decide(world: World, name: str, mine: list[str], others: list[str]) -> None:
    world.ask(step="a", title="anybody", now=NOW)
    world.ask(step="b", title="soon", expires_at=NOW + 60, now=NOW + 1, reviewers={"exclude": ["starter"]})
    world.ask(step="c", title="rita only", now=NOW + 2, reviewers={"users": ["rita"]})
    world.ask(step="d", title="managers", now=NOW + 3, reviewers={"groups": ["managers"]})
    world.ask(step="e", title="expired", expires_at=NOW - 1, now=NOW - 100)
    actor = world.actor(name)
    assert titles(queries.mine_now(actor, NOW)) == mine
    assert sorted(titles(queries.waiting_on_others(actor, NOW))) == sorted(others)


def test_a_vote_moves_a_request_to_the_others_and_the_last_one_to_done(world: World, engine: Engine) -> None:
    request = world.ask(reviewers={"quorum": 2})
    rita, rolf = world.actor("rita"), world.actor("rolf")
    decide_request(actor=rita, request_id=request.pk, verdict="approve", digest=digest())
    assert queries.counts(rita, time.time()) == {"mine": 0, "others": 1, "done": 0}
    assert queries.counts(rolf, time.time()) == {"mine": 1, "others": 0, "done": 0}
    decide_request(actor=rolf, request_id=request.pk, verdict="approve", digest=digest())
    assert queries.counts(rolf, time.time()) == {"mine": 0, "others": 0, "done": 1}


def test_counting_costs_the_same_for_one_request_and_for_many(world: World, django_assert_max_num_queries: Any) -> None:
    for n in range(30):
        world.ask(step=f"s{n}", reviewers={"users": ["rita"]})
    actor = world.actor("rita")
    with django_assert_max_num_queries(4):  # the grants, and one for each list
        assert queries.counts(actor, time.time())["mine"] == 30


def test_a_machine_has_no_inbox(world: World) -> None:
    from resources.access import Actor

    world.ask()
    assert not queries.mine_now(Actor.system("worker"), NOW + 10).exists()
