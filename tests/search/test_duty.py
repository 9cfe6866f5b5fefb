"""The keeper's duty: it is woken by what changed, does a little at a time, and reads nothing that is still written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from runs import clock
from runs.models import Run, SearchEntry, SearchState
from runs.search import keeping
from tests.search.conftest import make_flow, make_resource, make_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.db_matrix]


@pytest.fixture(autouse=True)
def nothing_is_indexed(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    SearchState.objects.all().delete()


def concerned() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ({keeping.WHEN})", {"now": clock.now()})
        return bool(cursor.fetchone()[0])


def turn(duty: keeping.Duty, most: int = 200) -> None:
    """Until it has nothing more to do."""
    for _ in range(most):
        if duty.turn(clock.now()) - clock.now() > keeping.SOON:
            return
    raise AssertionError("it goes on and on")


def test_it_is_concerned_until_all_is_indexed() -> None:
    flow = make_flow("greet", "team", "Greet")
    run, resource = make_run(flow), make_resource("a text")
    assert concerned()
    duty = keeping.Duty()
    turn(duty)
    assert not concerned()
    assert {"greet", run.pk, resource.pk} <= set(SearchEntry.objects.values_list("object_id", flat=True))
    make_resource("another text")
    assert concerned()
    turn(duty)
    assert not concerned() and SearchEntry.objects.filter(kind="resource").count() == 2


def test_it_compares_everything_now_and_then() -> None:
    flow = make_flow("greet", "team", "Greet")
    run, duty = make_run(flow), keeping.Duty()
    turn(duty)
    Run.objects.filter(pk=run.pk).update(status="failed")
    turn(duty)
    assert SearchEntry.objects.get(object_id=run.pk).status == "open"  # nobody told, and it was compared just now
    duty._compared -= keeping.COMPARE
    turn(duty)
    assert SearchEntry.objects.get(object_id=run.pk).status == "failed"


def test_on_postgresql_one_process_at_a_time_does_it() -> None:
    with keeping.one_at_a_time() as mine:
        assert mine
    with keeping.one_at_a_time() as again:
        assert again
