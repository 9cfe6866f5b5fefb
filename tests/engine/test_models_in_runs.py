"""Language models in real runs: what they cost is counted for the run, bounded by its budget, and shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from resources.access import Actor
from resources.connections import create_connection
from runs import usage
from runs.models import Run, Usage
from tests.engine.test_outcomes_in_runs import run_of, step_of
from tests.families.models import Say, provider

pytestmark = pytest.mark.django_db(transaction=True)

FLOW = """
flow: triage
budget: {tokens: 250}
steps:
  - id: first
    llm: {connection: brain, prompt: "What is ${{ input.what }}?"}
  - id: rest
    for_each: {items: "${{ ['a', 'b', 'c'] }}", max_parallel: 1, on_item_error: continue}
    llm: {connection: brain, prompt: "${{ item }}"}
"""


def _run(tokens: tuple[int, int]) -> Run:
    with provider(Say("This.", tokens=tokens)) as server:
        settings: dict[str, Any] = {"base_url": server.url, "model": "small", "allow_networks": ["127.0.0.0/8"]}
        settings["prices"] = {"small": {"input": 1.0, "output": 10.0}}
        create_connection(actor=Actor.system("tests"), name="brain", kind="llm", settings=settings)
        return run_of(FLOW, what="this")


def test_a_run_counts_what_its_models_used_by_step(database: str) -> None:
    run = _run((20, 10))
    assert run.status == "succeeded"
    assert usage.totals(run.pk) == {"input_tokens": 80, "output_tokens": 40, "cost": 0.00048}
    assert usage.by_step(run.pk)["rest"] == {"input_tokens": 60, "output_tokens": 30, "cost": 0.00036}


def test_where_the_budget_ends_the_next_question_is_not_asked(database: str) -> None:
    run = _run((90, 40))
    assert [step_of(run, "rest", item).status for item in range(3)] == ["succeeded", "failed", "failed"]
    assert step_of(run, "rest", 1).state["error"]["class"] == "budget"
    assert Usage.objects.filter(run=run).count() == 2


def test_the_page_and_the_api_say_what_was_used(database: str, admin_client: Client) -> None:
    run = _run((20, 10))
    assert "120 tokens, $0.0005" in admin_client.get(f"/runs/{run.pk}").content.decode()
    told = admin_client.get(f"/api/v1/runs/{run.pk}").json()["usage"]
    assert (told["input_tokens"], told["steps"]["first"]["output_tokens"]) == (80, 10)
