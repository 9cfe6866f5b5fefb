"""A `search` step in real runs finds what viewers of its flow's folder see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.actions import create_flow, release_draft
from runs.actions import start_run
from runs.worker import Worker
from tests.engine.test_outcomes_in_runs import ended_run, step_of
from tests.engine.test_store_queue import drain
from tests.search.conftest import SYSTEM, catch_up, make_resource

pytestmark = pytest.mark.django_db(transaction=True)
FLOW = """
flow: look
folder: {folder}
input: {{type: object, properties: {{what: {{type: string}}}}}}
steps:
  - id: found
    search: {{query: "${{{{ input.what }}}}", in: [resources], hydrate: true, filters: {{label: "kind=animal"}}}}
"""


@pytest.mark.parametrize(("folder", "sees"), [("team", 1), ("payments", 0), ('""', 1)])
def test_a_step_finds_what_viewers_of_its_folder_see(
    database: str, settings: Any, tmp_path: Path, folder: str, sees: int
) -> None:
    settings.MEDIA_ROOT = tmp_path
    made = make_resource("A crocodile is no alligator.", folder="team/a", labels={"kind": "animal"})
    make_resource("A crocodile without a label", folder="team")
    flow = create_flow(actor=SYSTEM, source=FLOW.format(folder=folder))
    release_draft(actor=SYSTEM, slug="look", version="1.0.0", live=True)
    flow.refresh_from_db()
    catch_up()
    run_id = start_run(actor=SYSTEM, flow=flow, input={"what": "crocodile"}).run.pk
    drain(Worker("w"))
    run, given = ended_run(run_id), step_of(run_id, "found").output
    assert run.status == "succeeded" and given["total"] == len(given["hits"]) == sees
    if sees:
        assert given["hits"][0]["id"] == made.pk
        assert given["hits"][0]["object"]["text"] == "A crocodile is no alligator."
