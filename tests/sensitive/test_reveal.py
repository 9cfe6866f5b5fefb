"""One sensitive value at a time, for whoever may and says why; and what a veil hides."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.definition.sensitive import MARK
from flows.models import Flow
from orchestra.cli import reveal as program
from orchestra.cli import wire
from resources import artifacts
from resources.access import Actor
from resources.errors import BadInput, NotAllowed, NotFound
from resources.models import AuditEntry, Grant
from runs.actions import start_run
from runs.models import Run, StepRun
from runs.sensitive.reveal import fields_of, parse, reveal_field, written
from runs.sensitive.rows import of_run
from runs.sensitive.shapes import Shapes
from runs.sensitive.veil import MOST, Veil

pytestmark = [pytest.mark.db_matrix, pytest.mark.django_db]
SOURCE = """\
flow: pay
folder: pay
input:
  type: object
  properties:
    card: {type: string, x-sensitive: true}
    "odd.name": {type: integer, x-sensitive: true}
    open: {type: string}
steps:
  - id: look
    function: {code: "1", gives: {properties: {salary: {x-sensitive: true}}}}
  - id: each
    for_each: {items: [1, 2]}
    function: {code: "1", gives: {properties: {code: {x-sensitive: true}}}}
"""
GIVEN: dict[str, Any] = {"card": "4111222233334444", "odd.name": 7, "open": "hello"}


@pytest.fixture
def run() -> Run:
    create_flow(actor=Actor.system("test"), source=SOURCE)
    release_draft(actor=Actor.system("test"), slug="pay", version="1.0.0", live=True)
    made = start_run(actor=Actor.system("test"), flow=Flow.objects.get(slug="pay"), input=GIVEN).run
    StepRun.objects.filter(run=made).delete()
    now = time.time()
    both = [{"code": "a1"}, {"code": "a2"}]
    more: dict[str, Any] = {"status": "succeeded", "attempt": 1, "version": 1, "started_at": now, "ended_at": now}
    for step, item, output in (("look", -1, {"salary": 5, "name": "Ada"}), ("each", -1, both), ("each", 1, both[1])):
        StepRun.objects.create(run=made, step=step, item=item, output=output, **more)
    return Run.objects.select_related("flow", "release").get(pk=made.pk)


def person(role: str, folder: str = "pay") -> Any:
    user = User.objects.create_user(f"{role}-{folder}")
    Grant.objects.create(user=user, role=role, folder=folder)
    return user


FIELDS: list[tuple[str, Any]] = [
    ("input.card", GIVEN["card"]),
    ('input["odd.name"]', 7),
    ("input", GIVEN),
    ("steps.look.output.salary", 5),
    ("steps.each.output[1].code", "a2"),
    ("steps.each[1].output.code", "a2"),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_a_revealer_reads_the_true_value_and_the_log_keeps_who_and_why(run: Run, field: str, value: Any) -> None:
    actor = Actor.of_user(person("revealer"))
    assert reveal_field(actor=actor, run_id=run.pk, field=field, reason=f"asked about {GIVEN['card']}") == value
    entry = AuditEntry.objects.get(action="run.revealed")
    assert (entry.actor, entry.object_id) == ("revealer-pay", run.pk)
    assert entry.data == {"field": field, "flow": "pay", "reason": f"asked about {MARK}"}


@pytest.mark.parametrize("field", ["", "card", "input..card", "input.card.", "input[x]", "x" * 600, ".input"])
def test_what_names_no_field_is_refused(field: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(field)
    assert refused.value.stable_code == "bad_field"


def test_others_are_refused_and_nothing_is_noted(run: Run) -> None:
    noted = AuditEntry.objects.count()
    for role in ("viewer", "operator", "reviewer", "author"):
        with pytest.raises(NotAllowed):
            reveal_field(actor=Actor.of_user(person(role)), run_id=run.pk, field="input.card", reason="why")
    with pytest.raises(NotFound):
        reveal_field(actor=Actor.of_user(person("revealer", "other")), run_id=run.pk, field="input.card", reason="why")
    may = Actor.of_user(person("revealer"))
    for field, reason, code in (
        ("input.card", "  ", "reason_missing"), ("input.open", "why", "not_sensitive"),
        ("input.none", "why", "field_not_found"), ("steps.look.input", "why", "field_not_found"),
    ):  # fmt: skip
        with pytest.raises((BadInput, NotFound)) as refused:
            reveal_field(actor=may, run_id=run.pk, field=field, reason=reason)
        assert refused.value.stable_code == code
    assert AuditEntry.objects.count() == noted


def test_the_page_offers_the_fields_shows_one_once_and_nothing_of_it_to_others(run: Run) -> None:
    assert fields_of(run, of_run(run)) == [
        "input.card", 'input["odd.name"]', "steps.look.output.salary", "steps.each.output[0].code",
        "steps.each.output[1].code",
    ]  # fmt: skip
    client, other = Client(), Client()
    client.force_login(person("revealer"))
    other.force_login(person("operator"))
    assert b'id="reveal"' in client.get(f"/runs/{run.pk}").content
    assert b'id="reveal"' not in other.get(f"/runs/{run.pk}").content
    asked = {"field": "input.card", "reason": "a dispute"}
    shown = client.post(f"/runs/{run.pk}/reveal", asked)
    assert GIVEN["card"] in shown.content.decode() and "no-store" in shown["Cache-Control"]
    assert other.post(f"/runs/{run.pk}/reveal", asked).status_code == 302
    assert client.post(f"/runs/{run.pk}/reveal", {"field": "input"}).status_code == 302
    told = other.post(f"/api/v1/runs/{run.pk}/reveal", asked, content_type="application/json")
    assert told.status_code == 403 and "revealer" in told.json()["error"]["message"]
    said = client.post(f"/api/v1/runs/{run.pk}/reveal", asked, content_type="application/json").json()
    assert said == {"run": run.pk, "field": "input.card", "value": GIVEN["card"]}
    assert AuditEntry.objects.filter(action="run.revealed").count() == 2


def test_the_program_prints_the_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    asked: list[Any] = []

    def answer(self: wire.Server, method: str, path: str, body: Any = None, *, timeout: float = 20.0) -> Any:
        asked.append((self.prefix, method, path, body))
        if body["field"] == "input.no":
            raise wire.Said(403, "not_allowed", "This needs the role revealer.")
        return {"value": {"a": 1}}

    monkeypatch.setattr(wire.Server, "ask", answer)
    token = tmp_path / "token"
    token.write_text("orc_x\n")
    token.chmod(0o600)
    words = ["--url", "https://o.example", "--token-file", str(token), "--reason", "why", "r1"]
    assert program.main([*words, "input.card"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    assert asked == [("/api/v1", "POST", "/runs/r1/reveal", {"field": "input.card", "reason": "why"})]
    assert program.main([*words, "input.no"]) == 1 and "revealer" in capsys.readouterr().err


def test_the_way_to_a_field_is_read_as_it_is_written() -> None:
    for place in (("input", "a", 3, "b.c"), ("steps", "x-y~", 2, "output", 'q"\\'), ("vars", "ø", "")):
        assert parse(written(place)) == list(place)


# -- the veil ------------------------------------------------------------------------------------------------------
def test_what_a_step_says_while_its_output_is_not_known_yet_is_withheld() -> None:
    veil = Veil(Shapes(outputs={"look": {"properties": {"a": {"x-sensitive": True}}}}), ["apple-pie"])
    live = {"progress": {"message": "5", "percent": 3, "at": 1}, "tail": "secret", "log": ["x"]}
    shown = {"progress": {"message": MARK, "percent": 3, "at": 1}, "tail": MARK, "log": [MARK]}
    assert veil.live("look", live) == shown
    assert veil.live("other", {**live, "tail": "an apple-pie"}) == {**live, "tail": f"an {MARK}"}
    assert veil.live("look", None) is None
    data = {
        "k": "ended",
        "output": {"a": 1, "b": 2},
        "lines": ["x"],
        "error": {"class": "x", "details": {"answer": "y"}},
    }
    assert veil.event("look", -1, data) == {
        "k": "ended", "output": {"a": MARK, "b": 2}, "lines": [MARK], "error": {"class": "x", "details": MARK},
    }  # fmt: skip


def test_numbers_are_hidden_where_they_stand_alone_and_in_texts_and_code_keeps_its_own() -> None:
    veil = Veil(Shapes(), ["91827", "12"])
    assert veil.tree({"a": 91827, "b": 12, "c": "pay 91827", "d": True}) == {
        "a": MARK, "b": 12, "c": f"pay {MARK}", "d": True,
    }  # fmt: skip
    assert veil.words({"attempt": 91827, "said": "pay 91827"}) == {"attempt": 91827, "said": f"pay {MARK}"}


def test_a_text_with_the_beginning_of_a_long_value_is_hidden_whole_and_too_many_values_hide_all() -> None:
    veil = Veil(Shapes(), ["The patient says that " * 40])
    assert veil.text("note: " + "The patient says that " * 10) == MARK and veil.text("The patient") == "The patient"
    many = Veil(Shapes(), (f"value-{n}" for n in range(MOST + 1)))
    assert many.tree({"a": "b"}) == MARK and many.words({"attempt": 1, "a": "b"}) == {"attempt": 1, "a": MARK}


def test_an_output_in_a_resource_is_read_and_downloaded_without_what_is_sensitive(run: Run) -> None:
    whole = {"salary": 5, "name": "Ada"}
    row = artifacts.store(json.dumps(whole).encode(), run_id=run.pk, step="look", folder="pay")
    made = artifacts.write(
        [b"salary: 5"], content_type="text/plain", name="a.txt", run_id=run.pk, step="look", folder="pay"
    )
    other = artifacts.write(
        [GIVEN["card"].encode()], content_type="text/plain", name="b.txt", run_id=run.pk, step="rest", folder="pay"
    )
    client: Any = Client()
    client.force_login(person("viewer"))
    assert json.loads(client.get(f"/api/v1/resources/{row.pk}/content").content) == {"salary": MARK, "name": "Ada"}
    assert MARK in client.get(f"/resources/{row.pk}").content.decode()
    refused = client.get(f"/api/v1/resources/{made.pk}/content")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "sensitive")
    assert GIVEN["card"] not in client.get(f"/resources/{other.pk}").content.decode()
    StepRun.objects.filter(run=run, step="look").update(output=artifacts.ref(row))
    assert of_run(run).tree("5") == "5" and reveal_field(
        actor=Actor.of_user(person("revealer")), run_id=run.pk, field="steps.look.output.salary", reason="why"
    ) == 5  # fmt: skip
