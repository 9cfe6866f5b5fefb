"""Runs and everything the outside does to them: starts that arrive twice, answers early, late, twice or never, people
who decide, pause, resume and cancel."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.outside import Crew, Outside

CallbackPath = Callable[[str, str], str]


@dataclass
class Load:
    """What was asked for, and what the program said to it."""

    outside: Outside
    crew: Crew
    callback_path: CallbackPath  # (run, step) -> path
    seed: int
    shares: dict[str, int]  # flow -> its share
    ms: int | None = None  # how long each answer of the demo world takes
    pauses: float = 0.06  # share of the runs that somebody pauses
    started: dict[str, str] = field(default_factory=dict)  # run -> flow
    findings: list[str] = field(default_factory=list)
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)  # run -> what its callbacks were told
    cancelled: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- starts ------------------------------------------------------------------------------------------------
    def start(self, number: int) -> None:
        """One run, number `number`, asked for by somebody who may not have heard the first answer."""
        dice = random.Random(f"{self.seed}:{number}")
        flow = dice.choices(list(self.shares), list(self.shares.values()))[0]
        given: dict[str, Any] = {"n": number, "ms": dice.choices([0, 30, 100, 400, 2500], [20, 6, 6, 6, 2])[0]}
        if self.ms is not None:
            given["ms"] = self.ms
        if flow == "chaos-saga":
            given["fails"] = dice.random() < 0.4
        by_hook = flow == "chaos-pay" and dice.random() < 0.5
        runs = {self._ask(dice, flow, given, number, by_hook)}
        for _ in range(dice.choice([0, 0, 0, 1, 2])):
            self.count("starts repeated")
            runs.add(self._ask(dice, flow, given, number, by_hook))
        if len(runs) != 1:
            self.findings.append(f"start {number} made {len(runs)} runs")
        for run in runs:
            self.started[run] = flow
            self._go_on(dice, flow, run, number)

    def _ask(self, dice: random.Random, flow: str, given: dict[str, Any], number: int, by_hook: bool) -> str:
        if by_hook:
            status, told = self.outside.hook(dice, given, f"delivery-{number}")
            accepted, run = status in (200, 202), told.get("run")
        else:
            body = {"input": given, "idempotency_key": f"start-{number}"}
            status, told = self.outside.api(dice, "POST", f"/flows/{flow}/runs", body)
            accepted, run = status in (200, 201), told.get("id")
        if not accepted or not run:
            raise AssertionError(f"start {number} of {flow} was answered {status}: {told}")
        return str(run)

    # -- what follows ------------------------------------------------------------------------------------------
    def _go_on(self, dice: random.Random, flow: str, run: str, number: int) -> None:
        if flow == "chaos-callback":
            self._plan_callbacks(dice, run, number)
        if dice.random() < self.pauses:
            self.crew.later(dice.uniform(0, 2), lambda: self._pause(dice, run))
        if dice.random() < 0.06:
            self.crew.later(dice.uniform(0, 3), lambda: self._control(dice, run, "cancel"))

    def _plan_callbacks(self, dice: random.Random, run: str, number: int) -> None:
        fate = dice.choice(["early", "once", "twice", "twice", "reordered", "late", "dropped"])
        self.count(f"callback {fate}")
        first, second = {"n": number, "v": 1}, {"n": number, "v": 2}
        at = 0.0 if fate == "early" else dice.uniform(0.5, 3.0)
        if fate == "late":
            at = 9.0
        bodies = {"twice": [first, first, first], "reordered": [second, first], "dropped": []}.get(fate, [first])
        for body in bodies:
            delay = at + dice.uniform(0, 0.3)
            self.crew.later(delay, lambda body=body: self._call_back(dice, run, body))

    def _call_back(self, dice: random.Random, run: str, body: Any) -> None:
        told = self.outside.send(dice, "POST", self.callback_path(run, "answer"), body)
        self.answers.setdefault(run, []).append(told)
        if told[0] not in (202, 404, 409, 410):
            self.findings.append(f"a callback of {run} was answered {told}")

    def _pause(self, dice: random.Random, run: str) -> None:
        status = self._control(dice, run, "pause")
        if status == 200:
            self.crew.later(dice.uniform(0.2, 4), lambda: self._control(dice, run, "resume"))

    def _control(self, dice: random.Random, run: str, verb: str) -> int:
        status, told = self.outside.api(dice, "POST", f"/runs/{run}/{verb}", {"reason": "chaos"})
        if status == 200:
            self.count(verb)
            if verb == "cancel":
                self.cancelled.add(run)
        elif status != 409:
            self.findings.append(f"{verb} of {run} was answered {status}: {told}")
        return status

    # -- people --------------------------------------------------------------------------------------------------
    def decide_what_is_open(self) -> None:
        """Somebody looks into the inbox, decides everything, and clicks twice now and then."""
        dice = random.Random(f"{self.seed}:{len(self.decided)}")
        status, told = self.outside.api(dice, "GET", "/approvals?status=open&limit=50")
        if status != 200:
            self.findings.append(f"the inbox was answered {status}: {told}")
            return
        for request in told["items"]:
            verdict = "approve" if dice.random() < 0.85 else "reject"
            body = {"decision": verdict, "digest": request["digest"], "comment": "chaos"}
            for _ in range(dice.choice([1, 1, 2])):
                status, told = self.outside.api(dice, "POST", f"/approvals/{request['id']}/decisions", body)
                if status not in (200, 409):
                    self.findings.append(f"a decision was answered {status}: {told}")
            self.decided.add(request["id"])
