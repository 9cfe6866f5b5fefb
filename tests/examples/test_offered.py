"""The examples in the product: offered where a new flow begins, each with what must be made first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.definition.compiler import compile_source
from flows.definition.lint import lint
from flows.examples import EXAMPLES, HERE
from flows.models import Flow
from flows.offers import BY_NAME, Need, needs_of
from flows.starters import Starter
from flows.steps.registry import family
from flows.uses import named_in
from resources.connections import create_connection
from resources.kinds import KINDS
from tests.engine.cluster import SYSTEM
from tests.flows.conftest import person

__all__ = ["person"]
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)


@each
def test_it_compiles_without_a_word_from_lint(example: Starter) -> None:
    assert [p.to_json() for p in lint(example.shown)] == []


def test_every_text_is_offered() -> None:
    assert sorted(path.stem for path in HERE.glob("*.yaml")) == sorted(e.name for e in EXAMPLES)


@each
def test_its_head_names_exactly_what_it_uses(example: Starter) -> None:
    plan, _ = compile_source(example.shown)
    assert plan is not None
    needs = needs_of(example.text)
    assert {n.name for n in needs if n.kind == "connection"} == named_in(example.shown)
    used = set(re.findall(r"\bsecret: ([a-z0-9-]+)", example.text))
    groups = {g for names in re.findall(r"groups: \[([^\]]*)\]", example.text) for g in names.split(", ")}
    assert {n.name for n in needs if n.kind == "secret"} == used
    assert {n.name for n in needs if n.kind == "group"} == groups
    for need in (n for n in needs if n.kind == "connection"):
        asks = {s.family for s in plan.steps if s.config.get("connection") == need.name}
        assert need.type in KINDS and all(need.type in family(name).connection_kinds for name in asks)


def test_a_need_may_go_on_over_lines() -> None:
    text = "# Needs:\n#   connection a (http): one\n#     and more\n#   group on-call: who answers\nflow: x\n"
    assert needs_of(text) == [
        Need("connection", "a", "http", "one and more"),
        Need("group", "on-call", "", "who answers"),
    ]


@pytest.mark.django_db
def test_a_flow_starts_from_it_and_its_page_says_what_is_missing(person: Callable[..., Any]) -> None:
    create_connection(actor=SYSTEM, name="ci", kind="http", settings={"base_url": "https://ci.example"})
    admin = Client()
    admin.force_login(person("ada", "admin"))
    page = admin.get("/flows/templates/release").content.decode()
    assert "There</span>" in page and page.count('href="/connections/new/http?name=monitor"') == 1
    assert 'value="monitor"' in admin.get("/connections/new/http?name=monitor").content.decode()
    assert 'value="alerts-key"' in admin.get("/secrets/new?name=alerts-key").content.decode()
    assert 'value="report_to"' in admin.get("/variables/new?name=report_to").content.decode()
    assert page.count('href="/connections/new/ssh?name=fleet"') == 1
    assert "Needs 2 things made first" in admin.get("/flows/new?starter=release").content.decode()
    made = admin.post("/flows/new", {"slug": "ship", "title": "Ship", "folder": "ops", "starter": "release"})
    assert (made.status_code, made["Location"]) == (302, "/flows/ship/edit")
    assert Flow.objects.get().draft.source == BY_NAME["release"].source(slug="ship", title="Ship", folder="ops")


@pytest.mark.django_db
def test_the_api_gives_the_same(person: Callable[..., Any]) -> None:
    author = Client()
    author.force_login(person("ana", "author", "team"))
    items = {t["name"]: t for t in author.get("/api/v1/flow-templates").json()["items"]}
    assert set(items) == set(BY_NAME)
    assert [(n["name"], n["type"], n["there"]) for n in items["purge"]["needs"]] == [("shop", "postgres", False)]
    nobody = Client()
    nobody.force_login(person("nils"))
    assert nobody.get("/api/v1/flow-templates").status_code == 403
    assert nobody.get("/flows/templates/purge").status_code == 403
    assert author.get("/flows/templates/none").status_code == 404
