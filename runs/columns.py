"""The codecs of the columns that hand-written SQL writes and reads: payloads, which may be sealed at rest.

What names a row is said in the models: of a run its id; of a step run, run, step and item; of an event, run and number.
"""

from __future__ import annotations

from typing import Final

from django.db import models

from resources.payloads import Column
from runs.models import LastGood, Run, RunEvent, StepRun, WaitToken


def _of(model: type[models.Model], name: str) -> Column:
    found: Column = model._meta.get_field(name).payload  # type: ignore[union-attr]
    return found


INPUT: Final = _of(Run, "input")
TRIGGER: Final = _of(Run, "trigger")
OUTPUT: Final = _of(Run, "output")
ERROR: Final = _of(Run, "error")
CONTROL: Final = _of(Run, "control")
STATE: Final = _of(StepRun, "state")
STEP_OUTPUT: Final = _of(StepRun, "output")
LIVE: Final = _of(StepRun, "live")
DATA: Final = _of(RunEvent, "data")
ANSWER: Final = _of(WaitToken, "answer")
RESPONSE: Final = _of(WaitToken, "response")
LAST_GOOD: Final = _of(LastGood, "output")
