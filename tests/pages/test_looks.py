"""Every status that a row can have has a look: one run without one would take the list of runs from everybody."""

from __future__ import annotations

import pytest

from runs import looks
from runs.models import RunStatus, StepStatus


@pytest.mark.parametrize("status", [*StepStatus.values, ""])
@pytest.mark.parametrize("ended", [False, True])
def test_every_status_of_a_step_has_a_look(status: str, ended: bool) -> None:
    assert all(looks.of_step(status, run_ended=ended))


@pytest.mark.parametrize("status", RunStatus.values)
def test_every_status_of_a_run_has_a_look(status: str) -> None:
    assert all(looks.of_run(status))
