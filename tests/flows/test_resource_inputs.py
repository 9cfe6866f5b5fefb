"""Inputs that are resources: asked for by the schema, offered by the form, checked at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from flows.actions import create_flow, release_draft
from flows.definition.compiler import compile_source
from flows.definition.resource_inputs import misplaced, named
from flows.models import Flow
from resources import artifacts
from resources.access import Actor
from resources.errors import BadInput
from resources.models import Artifact
from runs import actions
from runs.models import Run
from tests.resources.conftest import make_user

TABLE = {"type": "string", "format": "resource", "contentMediaType": "text/csv"}
IMAGE = {"type": "string", "format": "resource", "contentMediaType": "image/*"}
SOURCE = """
flow: import
folder: payments
input:
  type: object
  required: [customers]
  properties:
    customers: {type: string, format: resource, contentMediaType: text/csv}
    pictures: {type: array, items: {type: string, format: resource, contentMediaType: image/*}}
triggers: [{manual: {}}]
steps: [{id: nap, sleep: 1s}]
"""


@pytest.fixture
def flow(db: None, tmp_path: Path, settings: Any) -> Flow:
    settings.MEDIA_ROOT = tmp_path / "files"
    create_flow(actor=Actor.system("test"), source=SOURCE)
    release_draft(actor=Actor.system("test"), slug="import", version="1.0.0", notes="First.", live=True)
    return Flow.objects.get(slug="import")


@pytest.fixture
def browser(flow: Flow, client: Client) -> Client:
    client.force_login(make_user("oli", "operator", folder="payments"))
    return client


def made(content_type: str = "text/csv", folder: str = "payments") -> str:
    return str(artifacts.write([b"a,b\n"], content_type=content_type, name="x.csv", folder=folder))


def test_only_values_below_the_format_name_resources() -> None:
    schema = {"properties": {"a": TABLE, "many": {"items": {"properties": {"b": IMAGE}}}, "plain": {"type": "string"}}}
    value = {"a": "res://1", "many": [{"b": "res://2"}, {}], "plain": "res://3", "other": "res://4"}
    assert [(one.path, one.address) for one in named(schema, value)] == [
        (("a",), "res://1"),
        (("many", 0, "b"), "res://2"),
    ]
    picture = next(named({"items": IMAGE}, ["res://2"]))
    assert [picture.takes(kind) for kind in ("image/png", "text/csv")] == [True, False]


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [TABLE]},
        {"$defs": {"t": TABLE}},
        {"properties": {"a": {"format": "resource"}}},
        {"properties": {"a": {**TABLE, "contentMediaType": "csv"}}},
    ],
)
def test_lint_refuses_the_format_where_nobody_reads_it(schema: dict[str, Any]) -> None:
    assert len(list(misplaced(schema, allowed=True))) == 1


def test_the_format_is_a_matter_of_the_input_alone() -> None:
    assert list(misplaced({"properties": {"a": TABLE}, "default": {"format": "resource"}}, allowed=True)) == []
    text = SOURCE.replace("steps: [{id: nap, sleep: 1s}]", "steps:\n  - {id: nap, sleep: 1s, output: %s}")
    _, problems = compile_source(text % "{properties: {a: {type: string, format: resource}}}")
    assert "invalid-schema" in [p.rule for p in problems if p.severity == "error"]


@pytest.mark.db_matrix
@pytest.mark.parametrize(
    ("content_type", "folder", "said"),
    [
        ("image/png", "payments", "text/csv is asked for"),
        ("text/csv", "", "in the folder /"),
        ("text/csv", "ops", "There is no such resource"),
    ],
)
def test_a_start_is_refused_where_the_resource_does_not_fit(
    flow: Flow, content_type: str, folder: str, said: str
) -> None:
    user = make_user("oli", "operator", folder="payments")
    if not folder:
        user = make_user("root", "operator")
    with pytest.raises(BadInput) as refused:
        actions.start_run(actor=Actor.of_user(user), flow=flow, input={"customers": made(content_type, folder)})
    assert refused.value.details[0]["path"] == ["customers"]
    assert said in refused.value.details[0]["message"]
    assert not Run.objects.exists()


@pytest.mark.db_matrix
def test_the_api_takes_the_address_of_a_resource_of_the_flow(browser: Client) -> None:
    one, picture = made("text/csv; charset=utf-8", "payments/eu"), made("image/png")
    body = {"input": {"customers": one, "pictures": [picture]}}
    answer = browser.post("/api/v1/flows/import/runs", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    for wrong in ("x", "res://" + "0" * 26):
        refused = browser.post(
            "/api/v1/flows/import/runs", {"input": {"customers": wrong}}, content_type="application/json"
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_input")


@pytest.mark.db_matrix
def test_the_form_keeps_a_file_and_starts_with_its_address_once(browser: Client) -> None:
    known = made()
    page = browser.get("/flows/import/start").content.decode()
    assert 'enctype="multipart/form-data"' in page
    assert f'<option value="{known}">x.csv</option>' in page
    for _ in range(2):  # a double click
        file = SimpleUploadedFile("new.csv", b"c,d\n", "text/csv")
        answer = browser.post("/flows/import/start", {"key": "k1", "in.customers.file": file})
        assert answer.status_code == 302
    run = Run.objects.get()
    row = artifacts.get(run.input["customers"])
    assert (row.name, row.folder, row.created_by, artifacts.read(row)) == ("new.csv", "payments", "oli", b"c,d\n")
    assert Artifact.objects.count() == 2


@pytest.mark.db_matrix
def test_a_file_of_the_wrong_type_is_said_at_its_field(browser: Client) -> None:
    file = SimpleUploadedFile("new.png", b"c", "image/png")
    answer = browser.post("/flows/import/start", {"key": "k1", "in.customers.file": file})
    assert answer.status_code == 422
    assert "text/csv is asked for" in answer.content.decode()
    assert not Run.objects.exists()
