"""Random plans, random interleavings of everything that can happen to a run, and what must hold all the time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flows.definition.canonical import digest
from flows.definition.plan import UNDO, Plan, StepPlan
from runs.engine import inputs as given
from runs.engine.fanout import batches
from runs.engine.standing import DEAD, MENDABLE
from runs.engine.state import (
    CANCELLED,
    CLAIMABLE,
    FAILED,
    FANNED,
    NO_ITEM,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    Key,
    Step,
)  # fmt: skip
from runs.engine.turn import ClearTimer, CloseWait, Decision, Dequeue, Enqueue, OpenWait, SetTimer
from runs.recoveries import refusal
from tests.engine.fold import fold
from tests.engine.game import ERROR, Game, action
from tests.engine.random_plans import plans

REPAIRS = (
    given.RetryRequested, given.RetryFromRequested, given.SkipRequested, given.CompleteRequested, given.OutcomeSaid,
    given.TerminateRequested,
)  # fmt: skip
ERRORS = [ERROR, {"class": "timeout", "message": "Too slow."}]


class RunMachine(RuleBasedStateMachine):
    @initialize(plan=plans(), go=st.booleans())
    def begin_run(self, plan: Plan, go: bool) -> None:
        self.plan = plan
        self.world: dict[Key, int] = {}  # what a protected step's action says now
        self.asked: dict[str, dict[str, str]] = {}  # approval -> {"step:item": digest} as shown to people
        self.agreed: dict[str, dict[str, str]] = {}  # the same, once they agreed
        self.queue: set[Key] = set()
        self.waits: set[tuple[str, int, int]] = set()
        self.timers: set[tuple[str, int, str]] = set()
        self.disturbed: set[Key] = set()
        self.results: set[tuple[str, int, int]] = set()
        self.begun: set[str] = set()  # steps of which an attempt was started since they opened: these go on
        self.mending = self.troubled = False
        self.ends: list[Key] = []  # steps in the order they ended, undoable ones or not
        self.given: list[given.Input] = []
        self.game = Game(plan, input={"go": go}, started=False)
        self.give(given.Started())

    # -- helpers ---------------------------------------------------------------------------------------------
    def give(self, event: given.Input) -> Decision:
        self.given.append(event)
        before = self.game.state
        self.mending = isinstance(event, REPAIRS)
        decision = self.game.give(event)
        for command in decision.commands:
            self._carry_out(command)
        for key in decision.changed:
            self._check_change(before.step(*key), decision.state.step(*key))
        return decision

    def _carry_out(self, command: object) -> None:
        match command:
            case Enqueue(step, item, _):
                self.queue.add((step, item))
            case Dequeue(step, item):
                self.queue.discard((step, item))
                self.timers = {t for t in self.timers if t[:2] != (step, item)}
            case SetTimer(step, item, name, _):
                self.timers.add((step, item, name))
            case ClearTimer(step, item, name):
                self.timers.discard((step, item, name))
            case OpenWait(step, item, pass_no):
                assert (step, item, pass_no) not in self.waits
                self.waits.add((step, item, pass_no))
            case CloseWait(step, item, pass_no):
                self.waits.remove((step, item, pass_no))

    def _check_change(self, old: Step, new: Step) -> None:
        """A step with a recorded result keeps it for as long as its pass lasts."""
        assert new.attempt >= old.attempt and new.pass_no >= old.pass_no
        assert new.reason != "join" or new.status in {CANCELLED, RUNNING, FANNED}, "a loser comes to nothing"
        if (*new.key, new.pass_no) in self.results:
            assert (new.status, new.output) == (old.status, old.output), f"{new.key} had a result"
        if not self.mending and old.pass_no == new.pass_no and self.game.state.status != "queued":
            assert old.status not in {FAILED, SKIPPED} or new.status == old.status, "only people mend it"
        if new.status == "pending" and new.item == NO_ITEM:
            self.begun.discard(new.id)
        if new.status == SUCCEEDED:
            self.results.add((*new.key, new.pass_no))
        if new.settled and not old.settled:
            self.ends = [key for key in self.ends if key != new.key] + [new.key]
        if old.granted is not None and new.granted is None:
            self.agreed.pop(new.id, None)  # asked again: the old yes is no more

    def steps(self, *statuses: str) -> list[Step]:
        return sorted((s for s in self.game.state.steps.values() if s.status in statuses), key=lambda s: s.key)

    def pick(self, data: st.DataObject, *statuses: str) -> Step:
        return data.draw(st.sampled_from(self.steps(*statuses)), label="step")

    def action_of(self, step: Step) -> dict[str, Any]:
        return action(step.id, None if step.item < 0 else step.item, n=self.world.get(step.key, 0))

    def digests_of(self, step: Step) -> dict[str, str]:
        return dict.fromkeys(self.plan.step(step.id).protected_by, digest(self.action_of(step)))

    def has(self, *statuses: str) -> bool:
        return bool(self.steps(*statuses))

    # -- what workers do -------------------------------------------------------------------------------------
    @precondition(lambda self: self.has(*CLAIMABLE))
    @rule(data=st.data(), honest=st.sampled_from([True, True, True, False]))
    def start(self, data: st.DataObject, honest: bool) -> None:
        step = self.pick(data, *CLAIMABLE)
        plan = self.plan.step(step.id)
        shown = self.digests_of(step) if honest else dict.fromkeys(plan.protected_by, "0" * 64)
        wrong = [a for a in plan.protected_by if self.granted(step).get(a) != shown[a]]
        reads = step.fallback or step.doubt is not None
        if honest and wrong and not reads:
            self.give(given.ActionChanged(step.id, step.item, wrong[0]))
            return
        before = self.game.state
        called = step.id.endswith(UNDO) or (before.ending and step.id in before.ending["steps"])
        held = before.paused or (before.ending and not called) or before.status == "queued"
        decision = self.give(given.AttemptStarted(step.id, step.item, "w", shown or None))
        if decision.accepted:
            assert not held, "nothing starts in a paused or cancelled run"
            assert reads or not wrong, "a protected step starts only as it was approved"
            assert plan.condition is not False
            assert not any(self._led_elsewhere(r, plan.id, before.steps) for r in self.plan.routed_by.get(plan.id, ()))
            assert plan.id in self.begun or self._needs_allow(plan, before.steps), "none runs unless the flow says so"
            self.begun.add(plan.id)
            if step.id.endswith(UNDO):
                self._check_undoing(step, before.steps)

    def granted(self, step: Step) -> dict[str, str]:
        where = f"{step.id}:{step.item}"
        return {a: d[where] for a, d in self.agreed.items() if where in d}

    def _check_undoing(self, undo: Step, steps: Any) -> None:
        """Compensation waits for all, goes backwards, one at a time, and only over what acted or may have."""
        of = steps[undo.id.removesuffix(UNDO), undo.item]
        assert of.status in {SUCCEEDED, "unknown"} or of.acted
        assert not [s for s in steps.values() if s.status == RUNNING]
        for other in steps.values():
            plan = self.plan.step(other.id)
            if other.status != SUCCEEDED or plan.compensate is None or (plan.for_each is not None) != (other.item >= 0):
                continue
            if self.ends.index(other.key) > self.ends.index(of.key):
                undone = steps.get((other.id + UNDO, other.item))
                assert undone and undone.settled and undone.pass_no == other.pass_no, (
                    f"{other.key} ended after {of.key}"
                )

    def _needs_allow(self, plan: StepPlan, steps: Any) -> bool:
        """The rules of `when`, said once more and differently."""
        needs = [steps.get((n, -1), Step(n)) for n in plan.needs]
        by_choice = ("if", "when", "route", "operator")
        good = [n.status == SUCCEEDED or (n.status == SKIPPED and n.reason in by_choice) for n in needs]
        if plan.join is not None:
            return bool(sum(n.status == SUCCEEDED for n in needs) >= plan.join)
        if not all(n.settled for n in needs):
            return False
        if plan.when == "success":
            return all(good)
        bad = [n for n in needs if n.status in ("failed", "unknown", "cancelled") or n.reason == "needs"]
        return plan.when == "always" or bool(bad)

    @staticmethod
    def _led_elsewhere(route: StepPlan, step: str, steps: Any) -> bool:
        """Did the route lead anywhere but to this step?"""
        taken = steps[route.id, -1].output["rule"]
        table = [route.config["default"], *route.config["rules"]]
        return step not in table[taken].get("to", [])

    @precondition(lambda self: not self.game.state.ended and self.game.state.paused is None)
    @rule(data=st.data(), moves=st.integers(1, 6))
    def all_goes_well_for_a_while(self, data: st.DataObject, moves: int) -> None:
        for _ in range(moves):
            steps = self.steps(RUNNING, WAITING, *CLAIMABLE)
            if steps and self.game.state.cancel is None:
                self.move(data.draw(st.sampled_from(steps), label="step"))

    @precondition(lambda self: self.game.state.steps)
    @rule(data=st.data())
    def start_what_has_no_place(self, data: st.DataObject) -> None:
        step = data.draw(st.sampled_from(sorted(self.game.state.steps.values(), key=lambda s: s.key)), label="step")
        if step.status not in CLAIMABLE:
            shown = self.digests_of(step)
            assert not self.give(given.AttemptStarted(step.id, step.item, "w", shown or None)).accepted

    @precondition(lambda self: self.has(*CLAIMABLE))
    @rule(data=st.data())
    def its_connection_turns_it_away(self, data: st.DataObject) -> None:
        step, attempts = self.pick(data, *CLAIMABLE), {k: s.attempt for k, s in self.game.state.steps.items()}
        state = self.game.state
        called = state.ending and step.id in state.ending["steps"]  # what is done at the end may be turned away
        held = state.paused or (state.ending and not called)
        error = {"class": "circuit_open", "message": "…"}
        decision = self.give(given.TurnedAway(step.id, step.item, error))
        assert not (decision.accepted and held), "a paused or cancelled run decides nothing new"
        now = decision.state.step(*step.key)
        assert now.attempt == attempts[step.key], "no attempt is spent"
        assert not (decision.accepted and step.doubt), "what may have happened is not called failed"
        assert not decision.accepted or now.status in ("failed", SUCCEEDED) or now.fallback

    @precondition(lambda self: self.has(RUNNING))
    @rule(data=st.data(), outcome=st.sampled_from(["done", "done", "done", "retry", "fail"]), repeatable=st.booleans())
    def finish(self, data: st.DataObject, outcome: str, repeatable: bool) -> None:
        step = self.pick(data, RUNNING)
        if self.plan.step(step.id).family in ("wait", "approval") and outcome == "done" and not step.fallback:
            self.open_wait(data, step)
            return
        self.give(
            given.AttemptEnded(
                step.id, step.item, step.attempt, outcome, output={"n": step.attempt}, repeatable=repeatable,
                error=None if outcome == "done" else data.draw(st.sampled_from(ERRORS)),
                acted=data.draw(st.booleans()), rand=data.draw(st.sampled_from([0.0, 0.5])),
                after=data.draw(st.sampled_from([None, 5.0])),
            )
        )  # fmt: skip

    def open_wait(self, data: st.DataObject, step: Step) -> None:
        plan = self.plan.step(step.id)
        spec, kind = {}, "approval"
        if plan.family == "approval":
            actions = self.actions_protected_by(step.id)
            spec = {"actions": actions}
            self.asked[step.id] = {f"{a['step']}:{-1 if a['item'] is None else a['item']}": digest(a) for a in actions}
        else:
            kind = data.draw(st.sampled_from(["callback", "timer"]))
        wait = {"kind": kind, "timeout": 60.0, "until": None, "spec": spec}
        self.give(given.AttemptEnded(step.id, step.item, step.attempt, "wait", wait=wait))

    def actions_protected_by(self, approval: str) -> list[dict[str, Any]]:
        found = []
        for plan in self.plan.steps:
            if approval in plan.protected_by:
                items = range(len(batches(plan.for_each.items, plan.for_each.batch))) if plan.for_each else [-1]
                found += [self.action_of(Step(plan.id, item)) for item in items]
        return found

    @precondition(lambda self: self.has(RUNNING))
    @rule(data=st.data(), repeatable=st.booleans(), stale=st.booleans())
    def lose(self, data: st.DataObject, repeatable: bool, stale: bool) -> None:
        step = self.pick(data, RUNNING)
        decision = self.give(given.AttemptLost(step.id, step.item, step.attempt - stale, repeatable))
        assert decision.accepted is not stale

    @precondition(lambda self: self.game.state.steps)
    @rule(data=st.data())
    def a_zombie_comes_back(self, data: st.DataObject) -> None:
        step = data.draw(st.sampled_from(sorted(self.game.state.steps.values(), key=lambda s: s.key)))
        assert not self.give(given.AttemptEnded(step.id, step.item, step.attempt - 1, "done", output="zombie")).accepted

    # -- what the outside and people do --------------------------------------------------------------------------
    @precondition(lambda self: self.has(WAITING))
    @rule(data=st.data(), yes=st.sampled_from([True, True, False]), late=st.booleans())
    def answer(self, data: st.DataObject, yes: bool, late: bool) -> None:
        step = self.pick(data, WAITING)
        if late:
            assert not self.give(given.Answered(step.id, step.item, step.pass_no - 1, {})).accepted
            return
        payload: dict[str, Any] = {
            "decision": "approved" if yes else "rejected",
            "by": ["r"],
            "comment": "",
            "form": {},
        }
        if step.wait is not None and step.wait["kind"] == "approval" and yes:
            self.agreed[step.id] = self.asked[step.id]
        assert self.give(given.Answered(step.id, step.item, step.pass_no, payload)).accepted

    @precondition(lambda self: self.has(WAITING))
    @rule(data=st.data())
    def time_passes_a_wait(self, data: st.DataObject) -> None:
        step = self.pick(data, WAITING)
        assert self.give(given.TimeUp(step.id, step.item, step.pass_no)).accepted

    @precondition(lambda self: self.timers)
    @rule(data=st.data(), really=st.integers(0, 2))
    def a_time_is_missed(self, data: st.DataObject, really: int) -> None:
        step, item, name = data.draw(st.sampled_from(sorted(self.timers)), label="timer")
        if self.game.state.paused is not None or (name == "deadline" and really):
            return  # a pause holds every timer
        self.timers.discard((step, item, name))
        told = self.give(given.TimerDue(step, item, name))
        assert told.accepted or self.game.state.ended or self.game.state.cancel or self.game.state.ending

    @precondition(lambda self: any(s.protected_by for s in self.plan.steps))
    @rule(data=st.data(), item=st.integers(-1, 3))
    def the_world_changes(self, data: st.DataObject, item: int) -> None:
        """What a protected step would do is not what was shown any more."""
        protected = [s for s in self.plan.steps if s.protected_by]
        plan = data.draw(st.sampled_from(protected))
        key = (plan.id, max(item, 0) if plan.for_each else -1)
        self.world[key] = self.world.get(key, 0) + 1

    @rule(which=st.sampled_from(["pause", "resume", "resume"]))
    def control(self, which: str) -> None:
        self.give(given.PauseRequested("o", "why") if which == "pause" else given.Resumed("o", ""))

    @precondition(lambda self: len(self.given) > 12)
    @rule(really=st.integers(0, 5))
    def cancel(self, really: int) -> None:
        if not really:
            self.give(given.CancelRequested("o", "enough"))

    @precondition(lambda self: len(self.given) > 12)
    @rule(really=st.integers(0, 9))
    def terminate(self, really: int) -> None:
        if not really:
            ended = self.game.state.ended
            assert self.give(given.TerminateRequested("o", "now")).accepted is not ended
            assert self.game.state.ended and not self.has(RUNNING, WAITING, *CLAIMABLE)

    @precondition(lambda self: len(self.given) > 12)
    @rule(really=st.integers(0, 9))
    def it_breaks_its_workers(self, really: int) -> None:
        if not really:
            ended = self.game.state.ended
            assert self.give(given.GivenUp()).accepted is not ended
            assert self.game.state.ended and not self.has(RUNNING, WAITING, *CLAIMABLE)

    @precondition(lambda self: self.game.state.status == "queued")
    @rule()
    def its_turn_comes(self) -> None:
        assert self.give(given.Started()).accepted

    @precondition(lambda self: self.game.state.status in MENDABLE and self.has(FAILED, "unknown"))
    @rule(data=st.data(), control=st.sampled_from(["retry", "retry_from", "skip", "complete", "outcome", "outcome"]))
    def people_mend(self, data: st.DataObject, control: str) -> None:
        """What the table of controls says is what the core does."""
        wanted = {"outcome": ("unknown",)}.get(control, (FAILED, "unknown", SUCCEEDED))
        steps = [s for s in self.steps(*wanted) if not s.id.endswith(UNDO)]
        if not steps:
            return
        self.mend(data.draw(st.sampled_from(steps)), control, data.draw(st.sampled_from(["done", "not_done", "again"])))

    def mend(self, step: Step, control: str, outcome: str = "") -> None:
        of = ("", NO_ITEM) if control == "retry" else (step.id, NO_ITEM) if control == "retry_from" else step.key
        code = refusal(self.plan, self.game.state, control, *of)
        events: dict[str, given.Input] = {
            "retry": given.RetryRequested("o"),
            "retry_from": given.RetryFromRequested(step.id, "o"),
            "skip": given.SkipRequested(*step.key, actor="o"),
            "complete": given.CompleteRequested(*step.key, output="by hand", actor="o"),
            "outcome": given.OutcomeSaid(*step.key, outcome=outcome, actor="o"),
        }
        protected = bool(self.plan.step(step.id).protected_by)
        asked = all(self.game.state.step(a).granted for a in self.plan.step(step.id).protected_by)
        decision = self.give(events[control])
        assert decision.accepted is not bool(code), (control, code)
        if decision.accepted and control in ("skip", "complete", "outcome"):
            assert asked or not protected, "nobody gets past an approval"
            assert self.plan.step(step.id).family != "approval"

    @rule(seconds=st.sampled_from([0.5, 10.0, 100.0]))
    def clock(self, seconds: float) -> None:
        self.game.now += seconds

    @rule(data=st.data())
    def anything_arrives_twice(self, data: st.DataObject) -> None:
        again = data.draw(st.sampled_from(self.given))
        if isinstance(again, (given.AttemptStarted, given.ActionChanged)):
            return  # a start is no message: only a worker that holds the row says it
        if not self.fresh(again):
            decision = self.give(again)
            assert not decision.accepted

    def fresh(self, event: given.Input) -> bool:
        """Has this input a place now (because it was refused before, or may come again)?"""
        if isinstance(event, given.TimerDue):
            return True  # of a step that was put back, or of its next pass
        if isinstance(event, (given.PauseRequested, given.Resumed, given.CancelRequested, given.Started, *REPAIRS)):
            return True
        if isinstance(event, (given.AttemptEnded, given.AttemptLost)):
            step = self.game.state.step(event.step, event.item)
            return step.status == RUNNING and step.attempt == event.attempt
        if isinstance(event, given.TurnedAway):
            return self.game.state.step(event.step, event.item).status in CLAIMABLE
        if isinstance(event, (given.Answered, given.TimeUp)):
            step = self.game.state.step(event.step, event.item)
            return step.status == WAITING and step.pass_no == event.pass_no
        return False

    # -- what always holds -------------------------------------------------------------------------------------
    @invariant()
    def what_can_move_is_queued_or_awaited(self) -> None:
        if not hasattr(self, "game"):
            return
        if not self.game.state.ended:
            assert {s.key for s in self.steps(*CLAIMABLE)} <= self.queue, "a step nobody would ever look at"
        assert {(*s.key, s.pass_no) for s in self.steps(WAITING)} == self.waits

    def teardown(self) -> None:
        if not hasattr(self, "game"):
            return
        self.fold_again()
        much = len(self.given)
        self.troubled = much % 2 == 1
        if not self.troubled:  # on its way, then cancelled: what was done is undone
            self.drive_to_the_end(moves=10 + much % 30)
            self.give(given.CancelRequested("o", "enough"))
        self.drive_to_the_end(moves=40)
        self.troubled = False
        self.drive_to_the_end()
        for turn in range(3):
            if self.game.state.status in DEAD:
                self.mend_all(turn)
                self.drive_to_the_end()
        self.fold_again()

    def mend_all(self, turn: int) -> None:
        """Try everything on everything that is broken; then a retry, of all or from some step."""
        for step in self.steps(FAILED, "unknown", SUCCEEDED):
            kinds = ("outcome", "skip", "complete")
            for control in kinds if not step.id.endswith(UNDO) and (turn or step.status == "unknown") else ():
                self.mend(step, control, ("again", "done", "not_done")[turn])
        broken = self.steps(FAILED, "cancelled")
        if self.game.state.status in DEAD and broken and not broken[0].id.endswith(UNDO):
            self.mend(broken[0], "retry_from" if turn == 1 else "retry")

    def drive_to_the_end(self, moves: int = 500) -> None:
        """Whatever happened: a willing world brings the run to an end."""
        for _ in range(moves):
            if self.game.state.ended:
                break
            if self.game.state.paused is not None:
                assert self.give(given.Resumed("o", "")).accepted
            if self.game.state.status == "queued":
                assert self.give(given.Started()).accepted
                continue
            self.game.now += 100.0
            movable = self.steps(RUNNING, WAITING, *CLAIMABLE)
            assert movable, f"stuck: {[(s.key, s.status) for s in self.game.state.steps.values()]}"
            self.move(movable[0])
        if moves == 500:
            assert self.game.state.ended
            assert not self.waits and not self.has(RUNNING) and not self.has("handling")
            handlers = [self.game.state.step(s.id) for s in self.plan.steps if s.handler]
            assert all(s.settled for s in handlers) or self.game.state.ending

    def move(self, step: Step) -> None:
        plan = self.plan.step(step.id)
        if step.status == WAITING:
            if step.id in self.asked:
                self.agreed[step.id] = self.asked[step.id]
            payload: dict[str, Any] = {"decision": "approved", "by": ["r"], "comment": "", "form": {}}
            self.give(given.Answered(step.id, step.item, step.pass_no, payload))
        elif step.status in CLAIMABLE:
            reads = step.fallback or step.doubt is not None
            if plan.protected_by and not reads:
                self.disturb(step)
            shown = self.digests_of(step)
            wrong = [a for a in plan.protected_by if self.granted(step).get(a) != shown[a]]
            if wrong and not reads:
                assert self.give(given.ActionChanged(step.id, step.item, wrong[0])).accepted
            else:
                before = self.game.state.steps
                assert self.give(given.AttemptStarted(step.id, step.item, "w", shown or None)).accepted
                self.begun.add(step.id)
                if step.id.endswith(UNDO):
                    self._check_undoing(step, before)
        elif plan.family == "approval":
            actions = self.actions_protected_by(step.id)
            self.asked[step.id] = {f"{a['step']}:{-1 if a['item'] is None else a['item']}": digest(a) for a in actions}
            wait = {"kind": "approval", "timeout": 60.0, "until": None, "spec": {"actions": actions}}
            self.give(given.AttemptEnded(step.id, step.item, step.attempt, "wait", wait=wait))
        elif self.troubled and len(self.given) % 9 == 8:
            self.give(given.AttemptLost(step.id, step.item, step.attempt, repeatable=len(self.given) % 2 == 0))
        elif self.troubled and len(self.given) % 7 == 6:
            self.give(given.AttemptEnded(step.id, step.item, step.attempt, "fail", error=ERROR))
        else:
            self.give(given.AttemptEnded(step.id, step.item, step.attempt, "done", output=1))

    def disturb(self, step: Step) -> None:
        """Nothing unapproved starts; and every protected step sees its world change once."""
        lie = dict.fromkeys(self.plan.step(step.id).protected_by, "0" * 64)
        assert not self.give(given.AttemptStarted(step.id, step.item, "w", lie)).accepted
        if step.key not in self.disturbed:
            self.disturbed.add(step.key)
            self.world[step.key] = self.world.get(step.key, 0) + 1

    def fold_again(self) -> None:
        """The recorded causes, as JSON, give the same state."""
        events = [
            (replace(e, data=json.loads(json.dumps(e.data))), at) for d, at in self.game.decisions for e in d.events
        ]
        assert fold(self.plan, self.game.first, events) == self.game.state


TestRuns = RunMachine.TestCase
TestRuns.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
