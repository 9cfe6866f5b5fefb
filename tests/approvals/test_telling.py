"""Who is told of approvals and of runs that gave up, and that a burst is one notice."""

from __future__ import annotations

import time

import pytest

from approvals import telling
from resources.models import Notice, NoticeMute
from resources.notices.looking import EVERY
from runs import telling as runs_telling
from runs.models import Run
from tests.approvals.conftest import World

pytestmark = pytest.mark.db_matrix
NOW = 1_800_000_000.0


def told() -> list[tuple[str, str]]:
    return sorted(Notice.objects.values_list("user__username", "title"))


def test_who_is_named_is_told_once_for_a_burst_and_who_is_excluded_is_not(world: World) -> None:
    world.ask(step="a", title="first", now=NOW, reviewers={"users": ["rita", "olga"]})
    world.ask(step="b", title="second", now=NOW + 1, reviewers={"users": ["rita"]})
    world.ask(step="c", title="anybody", now=NOW + 2)
    duty = telling.Duty()
    assert duty.turn(NOW + 5) == NOW + 5 + EVERY
    duty.turn(NOW + 20)
    telling.Duty().turn(NOW + 25)
    assert told() == [(n, "Your approval is asked: first") for n in ("olga", "rita")]
    world.ask(step="d", title="later", now=NOW + 400, reviewers={"groups": ["managers"]})
    duty.turn(NOW + 401)
    assert ("rolf", "Your approval is asked: later") in told()


def test_who_muted_approvals_is_not_told(world: World) -> None:
    NoticeMute.objects.create(user=world.actor("rita").user, kind="approval")
    world.ask(step="a", title="first", now=NOW, reviewers={"users": ["rita"]})
    telling.Duty().turn(NOW + 5)
    assert told() == []


def test_the_starter_is_told_of_runs_that_gave_up_once_an_hour(world: World) -> None:
    request = world.ask(step="a", title="first", now=time.time())
    starter = world.actor("rita").user
    Run.objects.filter(pk=request.run_id).update(starter=starter, dead_at=NOW, ended_at=NOW, status="failed")
    duty = runs_telling.Duty()
    duty.turn(NOW + 5)
    duty.turn(NOW + 20)
    (notice,) = Notice.objects.all()
    assert notice.user == starter and notice.kind == "run_failed" and notice.url == f"/runs/{request.run_id}"
