"""What language models cost: counted per question, bounded per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from django.db.models import Sum

from flows.definition.plan import Budget
from flows.steps.base import Meter
from runs import clock
from runs.engine.state import Step
from runs.models import Usage

_SUMS = {"input_tokens": Sum("input_tokens"), "output_tokens": Sum("output_tokens"), "cost": Sum("cost")}


@dataclass(frozen=True)
class RunMeter(Meter):
    """Of one attempt. What it counts is durable at once: a lost attempt has cost as much as any other.

    Items that ask at the same time each see what was used before: together they may go beyond by what is under way.
    """

    run_id: str
    step: Step
    budget: Budget | None

    def left(self) -> tuple[float, float]:
        if self.budget is None:
            return inf, inf
        used = totals(self.run_id)
        tokens, cost = self.budget.tokens, self.budget.cost
        return (
            inf if tokens is None else tokens - used["input_tokens"] - used["output_tokens"],
            inf if cost is None else cost - used["cost"],
        )

    def add(self, model: str, input_tokens: int, output_tokens: int, cost: float) -> None:
        Usage.objects.create(
            run_id=self.run_id, step=self.step.id, item=self.step.item, attempt=self.step.attempt, model=model[:200],
            input_tokens=input_tokens, output_tokens=output_tokens, cost=cost, at=clock.now(),
        )  # fmt: skip


def totals(run_id: str) -> dict[str, Any]:
    """{input_tokens, output_tokens, cost} of a run; zeros where no model was asked."""
    return _filled(Usage.objects.filter(run_id=run_id).aggregate(**_SUMS))


def by_step(run_id: str) -> dict[str, dict[str, Any]]:
    """The same for each step that asked a model."""
    rows = Usage.objects.filter(run_id=run_id).order_by().values("step").annotate(**_SUMS)
    return {row["step"]: _filled(row) for row in rows}


def _filled(sums: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: sums[name] or 0 for name in _SUMS}
    return {**found, "cost": round(float(found["cost"]), 6)}
