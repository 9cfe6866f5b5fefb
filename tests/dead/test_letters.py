"""Which runs are dead letters, how they are found, and how they leave the list."""

from __future__ import annotations

import pytest
from django.db import connection

from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from resources.models import AuditEntry, Grant
from runs import controls
from runs.broken import fail
from runs.dead import letters
from runs.dead.dismissing import dismiss_run, dismiss_runs
from runs.dead.letters import Filter, dead_letters
from runs.models import LimitKey, Run, RunEvent, Work
from runs.worker import Worker
from tests.dead.story import ON_SQLITE, breaking, dead, operator, start
from tests.engine.cluster import SYSTEM, check_fold
from tests.engine.test_store_queue import drain


def ids(asked: Filter = Filter(), actor: object = SYSTEM) -> set[str]:  # noqa: B008  frozen
    return set(dead_letters(actor, asked).values_list("pk", flat=True))  # type: ignore[arg-type]


def test_a_run_that_gave_up_is_a_dead_letter_until_it_goes_on_again(database: str) -> None:
    flow = breaking()
    (run,) = dead(flow)
    fine = start(flow, fine=True).pk
    drain(Worker("w"))
    row = Run.objects.get(pk=run)
    assert ids() == {run} and row.dead_at == row.ended_at and row.error_class == row.error["class"]
    assert Run.objects.get(pk=fine).dead_at is None
    controls.retry_run(actor=SYSTEM, run_id=run, reason="once more")
    assert ids() == set()
    drain(Worker("w"))
    assert ids() == {run}  # it gave up again
    check_fold(run)


def test_a_run_that_breaks_the_worker_is_a_dead_letter_too_and_its_history_says_so(database: str) -> None:
    run = start(breaking()).pk
    fail(run)
    assert ids(Filter(error_class="internal")) == {run}
    assert RunEvent.objects.get(run_id=run, type="run.failed").cause and not Work.objects.filter(run_id=run).exists()
    check_fold(run)
    fail(run)
    assert RunEvent.objects.filter(run_id=run, type="run.failed").count() == 1


@ON_SQLITE
def test_a_run_whose_rows_cannot_be_read_is_a_dead_letter_all_the_same(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(breaking()).pk

    def damaged(*_: object) -> None:
        raise KeyError("status")

    monkeypatch.setattr("runs.broken.store.load", damaged)
    fail(run)
    assert ids(Filter(error_class="internal")) == {run} and not Work.objects.filter(run_id=run).exists()
    assert RunEvent.objects.get(run_id=run, type="run.failed").data["error"]["class"] == "internal"


def test_filters_and_groups_agree(database: str) -> None:
    first, second = breaking(), breaking("other", "payments/eu")
    mine, others = dead(first, 3), dead(second, 2)
    kind = Run.objects.get(pk=mine[0]).error_class
    fail(broke := start(second, n=9).pk)
    assert ids(Filter(flow="breaks")) == set(mine) == ids(Filter(q="BREAKS"))
    assert ids(Filter(folder="payments")) == {*mine, *others, broke}
    assert ids(Filter(folder="payments/eu")) == {*others, broke} and ids(Filter(folder="pay")) == set()
    assert ids(Filter(q="log of the workers")) == {broke} == ids(Filter(error_class="internal"))
    assert ids(Filter(q=mine[0].upper())) == {mine[0]} == ids(Filter(ids=(mine[0],)))
    at = Run.objects.get(pk=broke).dead_at
    assert at is not None and ids(Filter(since=at)) == {broke} and ids(Filter(until=at)) == {*mine, *others}
    found = letters.groups(dead_letters(SYSTEM, Filter()), "error_class")
    assert [(g["name"], g["count"]) for g in found] == [(kind, 5), ("internal", 1)]
    by_flow = letters.groups(dead_letters(SYSTEM, Filter(error_class=kind)), "flow__slug")
    assert [(g["name"], g["count"]) for g in by_flow] == [("breaks", 3), ("other", 2)]


def test_pages_follow_each_other_without_a_gap(database: str) -> None:
    made, seen, cursor = dead(breaking(), 5), [], None
    for _ in range(3):
        items, cursor = letters.page_of(dead_letters(SYSTEM, Filter()), cursor=cursor, limit=2)
        seen += [run.pk for run in items]
    assert sorted(seen) == sorted(made) and cursor is None
    with pytest.raises(BadInput):
        letters.page_of(dead_letters(SYSTEM, Filter()), cursor="nonsense", limit=2)


@ON_SQLITE
def test_only_folders_one_may_view_are_listed(database: str) -> None:
    dead(breaking("hidden", "secret"))
    (mine,) = dead(breaking())
    assert ids(actor=operator()) == {mine}


def test_a_dismissed_letter_leaves_the_list_and_the_run_stays(database: str) -> None:
    (run,) = dead(breaking())
    actor = operator()
    dismiss_run(actor=actor, run_id=run, reason=" known, harmless ")
    row = Run.objects.get(pk=run)
    assert ids() == set() and row.status == "failed" and row.error
    event = RunEvent.objects.get(run=run, type="run.dismissed")
    assert (event.actor, event.data) == ("olga", {"reason": "known, harmless"})
    assert AuditEntry.objects.get(action="run.dismissed").object_id == run
    with pytest.raises(Conflict) as caught:
        dismiss_run(actor=actor, run_id=run, reason="again")
    assert caught.value.stable_code == "not_dead"
    controls.retry_run(actor=actor, run_id=run)
    drain(Worker("w"))
    assert ids() == {run}  # it gave up anew
    check_fold(run)


@ON_SQLITE
def test_dismissing_needs_a_reason_and_the_operators_role(database: str) -> None:
    (run,) = dead(breaking())
    viewer = operator("vera", "elsewhere")
    Grant.objects.create(user=viewer.user, role="viewer", folder="payments")
    with pytest.raises(NotAllowed):
        dismiss_run(actor=viewer, run_id=run, reason="no")
    with pytest.raises(NotFound):
        dismiss_run(actor=operator("otto", "elsewhere"), run_id=run, reason="no")
    with pytest.raises(BadInput):
        dismiss_run(actor=operator(), run_id=run, reason=" ")
    assert ids() == {run} and not RunEvent.objects.filter(type="run.dismissed").exists()


@ON_SQLITE
def test_many_are_dismissed_each_with_its_own_result(database: str) -> None:
    one, two = dead(breaking(), 2)
    found = dismiss_runs(actor=operator(), ids=[one, "nowhere", one, two], reason="old")
    assert [(r.run, r.done, r.code) for r in found] == [
        (one, True, ""), ("nowhere", False, "run_not_found"), (two, True, ""),
    ]  # fmt: skip
    with pytest.raises(BadInput):
        dismiss_runs(actor=operator("o2"), ids=[str(n) for n in range(letters.MAX_IDS + 1)], reason="old")


def test_a_dead_letter_frees_its_concurrency_key(database: str) -> None:
    flow = breaking(more="concurrency: {key: all, limit: 1}")
    first, second = start(flow, n=1).pk, start(flow, n=2).pk
    drain(Worker("w"))
    assert ids() == {first, second}  # the second began when the first gave up
    assert LimitKey.objects.get().active == 0


def test_the_list_reads_its_index_alone(database: str) -> None:
    dead(breaking(), 2)
    with connection.cursor() as cursor:
        if database.startswith("postgres"):
            cursor.execute("SET enable_seqscan = off")
        sql, values = dead_letters(SYSTEM, Filter()).order_by("-dead_at").values("pk").query.sql_with_params()
        explain = "EXPLAIN " if database.startswith("postgres") else "EXPLAIN QUERY PLAN "
        cursor.execute(explain + sql, values)
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "run_dead" in plan and "temp b-tree" not in plan.lower()
