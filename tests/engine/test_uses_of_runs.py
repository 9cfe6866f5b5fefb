"""Runs keep to the release they began on: what only that one names is not deleted under them."""

from __future__ import annotations

import pytest

from flows.actions import create_flow, release_draft, save_draft
from flows.binding_actions import set_binding
from flows.models import Flow
from resources import connections, secrets, usage
from resources.access import Actor
from resources.errors import Conflict
from runs.actions import start_run
from runs.controls import terminate_run
from runs.models import Run

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ADMIN = Actor.system("tests")
OLD = """
flow: deploy
defaults: {timeout: 30s}
steps:
  - {id: told, wait: {callback: {secret: signs}}}
  - {id: a, http: {connection: shop}}
"""
NEW = """
flow: deploy
steps:
  - {id: told, sleep: 1h}
"""


@pytest.fixture(autouse=True)
def released() -> None:
    for name in ("shop", "sandbox"):
        settings = {"base_url": "https://api.example.com"}
        connections.create_connection(actor=ADMIN, name=name, kind="http", settings=settings)
    secrets.set_secret(actor=ADMIN, name="signs", value="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    create_flow(actor=ADMIN, source=OLD)
    release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)


def older(*, test: bool = False) -> Run:
    """A run of a release that is not live any more."""
    run = start_run(actor=ADMIN, flow=Flow.objects.get(), input={}, test=test).run
    save_draft(actor=ADMIN, slug="deploy", source=NEW, revision=1)
    release_draft(actor=ADMIN, slug="deploy", version="1.1.0", live=True)
    return run


def keepers(kind: usage.Kind, name: str) -> list[str]:
    return usage.users_of(kind, name)


def test_an_open_run_of_an_older_release_keeps_what_it_names_until_it_ends() -> None:
    run = older()
    for kind, name in (("connection", "shop"), ("secret", "signs")):
        assert keepers(kind, name) == ["open runs of flow deploy 1.0.0"]  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="signs is used by open runs of flow deploy"):
        secrets.delete_secret(actor=ADMIN, name="signs")
    with pytest.raises(Conflict, match="shop is used by open runs of flow deploy"):
        connections.delete_connection(actor=ADMIN, name="shop")
    terminate_run(actor=ADMIN, run_id=run.pk, reason="over")
    secrets.delete_secret(actor=ADMIN, name="signs")
    connections.delete_connection(actor=ADMIN, name="shop")


def test_runs_of_the_live_release_are_told_as_its_flow_alone() -> None:
    start_run(actor=ADMIN, flow=Flow.objects.get(), input={})
    assert keepers("connection", "shop") == keepers("secret", "signs") == ["flow deploy"]


def test_a_test_keeps_nothing_and_a_binding_says_which_one_a_run_reaches() -> None:
    older(test=True)
    assert keepers("connection", "shop") == keepers("secret", "signs") == []
    assert Run.objects.get().release.version == "1.0.0"
    set_binding(actor=ADMIN, name="shop", flow="", live="sandbox")
    assert keepers("connection", "sandbox") == keepers("connection", "shop") == []


def test_a_bound_name_keeps_the_connection_it_stands_for() -> None:
    older()
    set_binding(actor=ADMIN, name="shop", flow="", live="sandbox")
    assert keepers("connection", "sandbox") == ["open runs of flow deploy 1.0.0"]
    assert keepers("connection", "shop") == []
