"""A run once more from its recorded events alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flows.definition.plan import Plan
from runs.engine.decide import decide
from runs.engine.inputs import decode
from runs.engine.state import State
from runs.engine.turn import Event


def fold(plan: Plan, first: State, events: Iterable[tuple[Event, float]]) -> State:
    """`events`: (event, its time) in order. Only the causes are read; each must be accepted again."""
    state = first
    for event, at in events:
        if event.cause:
            given = decode(event.data, step=event.step, item=event.item, actor=event.actor)
            decision = decide(plan, state, given, at)
            assert decision.accepted, (event, state)
            state = decision.state
    return replace(state, version=0, seq=0)
