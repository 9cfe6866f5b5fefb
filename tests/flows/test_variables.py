"""Variables: who sets them, which value counts, and that a run keeps what it started with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flows import variables
from flows.actions import create_flow, release_draft
from flows.definition.lint import Known, lint
from flows.models import Flow, Variable
from resources.access import Actor
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import AuditEntry
from runs.actions import start_run
from runs.copies import fork_run, replay_run
from runs.engine.state import State, scope_of
from runs.models import Run, RunEvent, StepRun

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ADMIN = Actor.system("tests")
SOURCE = """
flow: deploy
folder: payments
vars:
  region: {type: string}
  size: {type: integer, default: 3}
steps:
  - id: a
    sleep: 1h
output: {region: "${{ vars.region }}"}
"""
TEXT = {"type": "string"}


@pytest.fixture
def flow() -> Flow:
    create_flow(actor=ADMIN, source=SOURCE)
    release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)
    return Flow.objects.get()


def put(name: str = "region", *, actor: Actor = ADMIN, flow: str = "", schema: Any = None, **values: Any) -> list[str]:
    found = variables.set_variable(actor=actor, name=name, flow=flow, schema=schema or TEXT, values=values)
    return found[1]


def start(flow: Flow, **more: Any) -> Run:
    return start_run(actor=ADMIN, flow=flow, input={}, **more).run


def read(run: Run) -> Any:
    """What its expressions read."""
    return scope_of(State(run.pk, "running", input=run.input, trigger=run.trigger))["vars"]


def test_the_flows_own_value_comes_before_the_workspaces_and_that_before_the_default(flow: Flow) -> None:
    put(live="eu")
    assert read(start(flow)) == {"region": "eu", "size": 3}
    put(flow="deploy", live="us")
    put("size", schema={"type": "integer"}, live=5)
    assert read(start(flow)) == {"region": "us", "size": 5}


def test_a_test_takes_draft_values_where_there_are_some(flow: Flow) -> None:
    put(live="eu", draft="sandbox")
    put("size", schema={"type": "integer"}, live=5)
    tested = start(flow, test=True)
    assert (read(tested), tested.trigger["test"]) == ({"region": "sandbox", "size": 5}, True)
    assert read(start(flow))["region"] == "eu"


def test_a_run_keeps_the_values_it_started_with_and_so_does_its_history(flow: Flow) -> None:
    put(live="eu")
    run = start(flow)
    put(live="us")
    run.refresh_from_db()
    assert read(run)["region"] == "eu"
    created = RunEvent.objects.get(run=run, type="run.created")
    assert created.data["trigger"]["vars"]["region"] == "eu"
    assert "vars" not in scope_of(State(run.pk, "running", trigger=run.trigger))["trigger"]


def test_a_fork_keeps_them_and_a_replay_takes_those_of_now(flow: Flow) -> None:
    put(live="eu", draft="sandbox")
    run = start(flow)
    Run.objects.filter(pk=run.pk).update(status="failed", ended_at=1.0, started_at=1.0)
    StepRun.objects.create(run=run, step="a", status="failed", pass_no=1, attempt=1, version=1)
    put(live="us")
    assert read(replay_run(actor=ADMIN, run_id=run.pk).run)["region"] == "us"
    assert read(fork_run(actor=ADMIN, run_id=run.pk, step="a").run)["region"] == "eu"


def test_a_missing_value_refuses_the_start_with_a_sentence(flow: Flow) -> None:
    with pytest.raises(BadInput, match="No value is set for the variable region") as caught:
        start(flow)
    assert (caught.value.stable_code, Run.objects.count()) == ("missing_variable", 0)
    put(draft="only for tests")
    with pytest.raises(BadInput):
        start(flow)
    assert read(start(flow, test=True))["region"] == "only for tests"


def test_a_value_of_another_type_refuses_the_start(flow: Flow) -> None:
    put(live=5, schema={"type": "integer"})
    with pytest.raises(BadInput, match="does not fit") as caught:
        start(flow)
    assert caught.value.details[0]["path"] == ["vars", "region"]


@pytest.mark.parametrize(
    ("name", "schema", "values", "path"),
    [("Bad", TEXT, {}, "name"), ("x", {"type": "strong"}, {}, "schema"), ("x", TEXT, {"live": 5}, "live"),
     ("x", TEXT, {"draft": None}, "draft"), ("x", TEXT, {"other": "a"}, "other"), ("x", TEXT, {"live": "\0"}, "live"),
     ("x", TEXT, {"live": "y" * 70_000}, "live")],
)  # fmt: skip
def test_mistakes_name_their_place(name: str, schema: Any, values: Any, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        put(name, schema=schema, **values)
    assert caught.value.details[0]["path"] == path and not Variable.objects.exists()


def test_what_looks_like_a_secret_is_warned_of() -> None:
    assert put(live="eu-north") == []
    assert "looks like a secret" in put(live="ghp_" + "a1B2" * 9)[0]


CELLS = [
    ("viewer", "", {"live": "x"}, False), ("operator", "", {"live": "x"}, False),
    ("author", "deploy", {"draft": "x"}, True), ("author", "deploy", {"live": "x"}, False),
    ("operator", "deploy", {"live": "x"}, True), ("operator", "deploy", {"draft": "x"}, False),
    ("viewer", "deploy", {"draft": "x"}, False),
    ("admin", "deploy", {"live": "x", "draft": "y"}, True), ("author", "deploy", {}, True),
    ("operator", "deploy", {}, True),
]  # fmt: skip


@pytest.mark.parametrize(("role", "of", "values", "may"), CELLS)
def test_who_may_set_what(
    flow: Flow, person: Callable[..., Any], role: str, of: str, values: dict[str, Any], may: bool
) -> None:
    actor = Actor.of_user(person("pat", role, "payments"))
    if may:
        put(actor=actor, flow=of, **values)
        assert AuditEntry.objects.filter(action="variable.set").count() == 1
    else:
        with pytest.raises(NotAllowed):
            put(actor=actor, flow=of, **values)


def test_others_folders_variables_are_not_seen(flow: Flow, person: Callable[..., Any]) -> None:
    put(flow="deploy", live="x")
    put("all", live="x")
    outside = Actor.of_user(person("olga", "viewer", "ops"))
    assert [row.name for row in variables.visible(outside)] == ["all"]
    with pytest.raises(NotFound):
        variables.get(outside, "region", "deploy")


def test_a_deleted_one_is_gone_and_told(flow: Flow) -> None:
    put(live="eu")
    variables.delete_variable(actor=ADMIN, name="region")
    assert not Variable.objects.exists()
    assert AuditEntry.objects.latest("seq").action == "variable.deleted"


def test_lint_warns_of_a_variable_that_nobody_set() -> None:
    found = [p for p in lint(SOURCE, known=Known(variables=frozenset())) if p.rule == "unset-variable"]
    assert [(p.severity, p.line) for p in found] == [("warning", 5)]
    assert not [p for p in lint(SOURCE, known=Known(variables={"region"})) if p.severity == "error"]
