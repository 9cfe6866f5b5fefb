"""A layer imports only lower ones; pure code stays pure; a replaceable dependency has one door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layers import LAYERS, breaches

ROOT = Path(__file__).resolve().parent.parent


def test_no_import_breaches_the_layers() -> None:
    assert [str(breach) for breach in breaches(ROOT)] == []


def test_every_layer_has_code_that_was_read() -> None:
    """Guards the test above against reading nothing."""
    assert all(list((ROOT / app).rglob("*.py")) for app in LAYERS)


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("resources/a.py", "from flows import models", "resources (layer 1) must not import flows"),
        ("flows/a.py", "import runs.actions", "flows (layer 2) must not import runs"),
        ("runs/a.py", "def f():\n    from approvals.models import Request", "must not import approvals"),
        ("approvals/a.py", "from orchestra import urls", "must not import orchestra"),
        ("flows/definition/a.py", "from django.conf import settings", "flows/definition/ is pure"),
        ("flows/definition/a.py", "from resources.kv import get", "flows/definition/ is pure"),
        ("flows/definition/a.py", "from flows.models import Flow", "flows/definition/ is pure"),
        ("flows/steps/http/config.py", "import django", "is pure"),
        ("runs/engine/a.py", "from runs.models import Run", "runs/engine/ is pure"),
        ("runs/engine/a.py", "import pydantic", "runs/engine/ is pure"),
        ("runs/engine/a.py", "from flows import models", "runs/engine/ is pure"),
        ("runs/worker.py", "from django_q.tasks import async_task", "may import django_q"),
        ("flows/definition/lint.py", "import cel_expr_python", "may import cel_expr_python"),
        ("orchestra/world/a.py", "import django", "orchestra/world/ is pure"),
    ],
)
def test_a_planted_breach_is_named(tmp_path: Path, path: str, source: str, rule: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    found = breaches(tmp_path)
    assert [(breach.path, rule in breach.rule) for breach in found] == [(path, True)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runs/broker.py", "from django_q.brokers import Broker"),
        ("flows/definition/expr.py", "import cel_expr_python"),
        ("runs/engine/a.py", "import json\nfrom flows.definition.plan import Plan\nfrom flows.definition import plan"),
        ("approvals/a.py", "from runs.actions import deliver\nfrom resources import audit"),
        ("flows/steps/http/step.py", "from django.conf import settings"),
        ("runs/migrations/0001.py", "import orchestra"),
    ],
)
def test_what_is_allowed_is_not_named(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert breaches(tmp_path) == []
