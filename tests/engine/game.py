"""A run of the pure core by hand: plans in one line, inputs as verbs, every decision kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.definition.canonical import digest
from flows.definition.plan import Plan, StepPlan
from runs.engine import inputs as given
from runs.engine.decide import decide
from runs.engine.state import NO_ITEM, State, Step
from runs.engine.turn import Decision
from tests.engine.fold import fold

Json = Any
ERROR = {"class": "http_5xx", "message": "It broke."}


def step(id_: str, family: str = "function", **rest: Any) -> StepPlan:
    return StepPlan(id=id_, family=family, config=rest.pop("config", {}), **rest)


def approval(id_: str, **config: Any) -> StepPlan:
    needs = config.pop("needs", ())
    return StepPlan(id=id_, family="approval", config=config, needs=needs)


def plan(*steps: StepPlan, **rest: Any) -> Plan:
    return Plan(language=1, flow="game", title="Game", steps=steps, **rest)


def action(step_id: str, item: int | None = None, **config: Json) -> dict[str, Json]:
    return {"step": step_id, "item": item, "family": "http", "connection": None, "config": config}


class Game:
    """`now` moves only by hand. Each verb gives the decision; `refused` says whether the last one changed nothing."""

    def __init__(self, the_plan: Plan, *, input: Json = None, started: bool = True) -> None:
        self.plan, self.now = the_plan, 1000.0
        self.first = self.state = State("R", input=input, trigger={"kind": "manual"}, created_at=self.now)
        self.decisions: list[tuple[Decision, float]] = []
        if started:
            self.give(given.Started())

    def give(self, event: given.Input) -> Decision:
        decision = decide(self.plan, self.state, event, self.now)
        if not decision.accepted:
            assert decision.state is self.state and not decision.events and not decision.commands
        self.state = decision.state
        self.decisions.append((decision, self.now))
        return decision

    # -- looking -----------------------------------------------------------------------------------------------
    def __getitem__(self, key: str | tuple[str, int]) -> Step:
        return self.state.step(key) if isinstance(key, str) else self.state.step(*key)

    def statuses(self, *ids: str) -> list[str]:
        return [self[i].status for i in ids]

    @property
    def last(self) -> Decision:
        return self.decisions[-1][0]

    @property
    def refused(self) -> bool:
        return not self.last.accepted

    def told(self, type_: str) -> list[Mapping[str, Json]]:
        """The data of every event of that type, oldest first."""
        return [e.data for d, _ in self.decisions for e in d.events if e.type == type_]

    def fold(self) -> None:
        """Its recorded causes, as JSON, give the same state."""
        events = [(replace(e, data=json.loads(json.dumps(e.data))), at) for d, at in self.decisions for e in d.events]
        assert fold(self.plan, self.first, events) == self.state

    # -- verbs ---------------------------------------------------------------------------------------------------
    def begin(self, id_: str, item: int = NO_ITEM, digests: Mapping[str, str] | None = None) -> Decision:
        return self.give(given.AttemptStarted(id_, item, "w1", digests))

    def end(self, id_: str, outcome: str, item: int = NO_ITEM, **rest: Any) -> Decision:
        attempt = rest.pop("attempt", self[id_, item].attempt)
        return self.give(given.AttemptEnded(id_, item, attempt, outcome, **rest))

    def done(self, id_: str, output: Json = None, item: int = NO_ITEM) -> Decision:
        """Begin and succeed."""
        self.begin(id_, item)
        return self.end(id_, "done", item, output=output)

    def fail(self, id_: str, item: int = NO_ITEM, error: Mapping[str, Json] = ERROR) -> Decision:
        self.begin(id_, item)
        return self.end(id_, "fail", item, error=error)

    def retry(self, id_: str, item: int = NO_ITEM, error: Mapping[str, Json] = ERROR, **rest: Any) -> Decision:
        """Begin, and fail in a way that a retry may help."""
        self.begin(id_, item)
        return self.end(id_, "retry", item, error=error, **rest)

    def lose(self, id_: str, item: int = NO_ITEM, repeatable: bool = True, attempt: int | None = None) -> Decision:
        attempt = self[id_, item].attempt if attempt is None else attempt
        return self.give(given.AttemptLost(id_, item, attempt, repeatable))

    def wait(self, id_: str, kind: str = "callback", item: int = NO_ITEM, **rest: Json) -> Decision:
        """Begin, and wait."""
        self.begin(id_, item)
        wait = {"kind": kind, "timeout": None, "until": None, "spec": {}, **rest}
        return self.end(id_, "wait", item, wait=wait)

    def ask(self, id_: str, *actions: Mapping[str, Json], timeout: float = 3600.0) -> Decision:
        """Open an approval for these actions."""
        return self.wait(id_, "approval", timeout=timeout, spec={"actions": list(actions)})

    def answer(self, id_: str, payload: Json = None, item: int = NO_ITEM, pass_no: int | None = None) -> Decision:
        pass_no = self[id_, item].pass_no if pass_no is None else pass_no
        return self.give(given.Answered(id_, item, pass_no, payload))

    def approve(self, id_: str, **rest: Json) -> Decision:
        return self.answer(id_, {"decision": "approved", "by": ["rita"], "comment": "", "form": {}, **rest})

    def reject(self, id_: str) -> Decision:
        return self.answer(id_, {"decision": "rejected", "by": ["rita"], "comment": "Not today.", "form": {}})

    def time_up(self, id_: str, item: int = NO_ITEM, pass_no: int | None = None) -> Decision:
        pass_no = self[id_, item].pass_no if pass_no is None else pass_no
        return self.give(given.TimeUp(id_, item, pass_no))

    def pause(self) -> Decision:
        return self.give(given.PauseRequested("olga", "a look"))

    def resume(self) -> Decision:
        return self.give(given.Resumed("olga", ""))

    def cancel(self) -> Decision:
        return self.give(given.CancelRequested("olga", "enough"))


def shown(approval_id: str, what: Mapping[str, Json]) -> dict[str, str]:
    """The digests a worker shows when it starts this action."""
    return {approval_id: digest(dict(what))}
