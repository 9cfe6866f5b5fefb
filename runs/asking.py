"""Asking a limited connection before an attempt starts, and telling it how one ended: in the commit that does so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows.definition.plan import UNDO, Plan
from resources.limits import gate, ledger
from resources.limits.book import Outcome, outcome_of
from resources.limits.ledger import Ledger
from resources.models import Permit
from runs import acting, bound, permits
from runs.engine import inputs as given
from runs.engine.state import NO_ITEM, Key, State
from runs.engine.turn import Decision, Event
from runs.loading import place_of
from runs.starting import Start
from runs.store import Loaded

Json = Any
Decide = Callable[[State, given.Input, float], Decision]


def connection_of(plan: Plan, state: State, key: Key) -> str | None:
    """What the plan calls the connection that the step's next attempt uses, or None."""
    name = acting.effective(plan, state.step(*key)).config.get("connection")
    return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that this commit ends."""

    key: Key
    attempt: int
    outcome: Outcome
    after: float | None = None


def ended_in(decisions: Sequence[Decision]) -> list[Ended]:
    """The attempts whose end these decisions record."""
    found = []
    for event in (e for d in decisions for e in d.events if e.cause):
        if event.data.get("k") == "ended":
            key = (event.step, event.item)
            found.append(Ended(key, event.data["attempt"], _outcome(event.data), event.data.get("after")))
        elif event.data.get("k") == "lost":
            found.append(Ended((event.step, event.item), event.data["attempt"], "unknown"))
    return found


def _outcome(data: Any) -> Outcome:
    if data["outcome"] in ("done", "wait"):
        return "ok"
    return outcome_of((data.get("error") or {}).get("class", ""))


def concerned(loaded: Loaded, decisions: Sequence[Decision], starts: Sequence[Start]) -> dict[str, int]:
    """{name: id} of the limited connections this commit has to do with. No statement where no step names one."""
    plan = loaded.plan
    keys = [ended.key for ended in ended_in(decisions)]
    names = {connection_of(plan, loaded.state, key) for key in keys}
    names |= {connection_of(plan, s.decision.state, s.take.key) for s in starts if s.take is not None}
    called = {name for name in names if name is not None}
    if not called or not permits.limited():
        return {}
    reached = bound.ever(place_of(loaded), called)
    return {name: pk for name, pk in permits.limited().items() if name in reached}


@dataclass(slots=True)
class Asked:
    """`starts`: those that may begin; `instead`: decisions about the others; `finish` completes the commit."""

    run_id: str
    books: dict[str, Ledger]
    owner: str
    decide: Decide
    starts: list[Start] = field(default_factory=list)
    instead: list[Decision] = field(default_factory=list)
    held: list[Permit] = field(default_factory=list)
    refused: set[Key] = field(default_factory=set)

    def finish(self) -> None:
        """After the save: rows of those that wait are held, of those that begin not any more."""
        for permit in self.held:
            permits.hold(self.run_id, (permit.step, permit.item), permit.due, permit.why)
        for start in self.starts:
            if start.take is not None and not start.take.fresh:
                permits.unhold(self.run_id, start.take.key)


def ask(
    loaded: Loaded, decisions: Sequence[Decision], starts: Sequence[Start], owner: str, now: float, decide: Decide
) -> Asked:
    """Inside the transaction of the commit, the run locked: give permits back, ask for those of `starts`."""
    run_id, plan, place = loaded.state.run_id, loaded.plan, place_of(loaded)
    bound.refresh(place)
    books = {book.name: book for book in ledger.lock(concerned(loaded, decisions, starts).values(), now)}
    asked = Asked(run_id, books, owner, decide)
    mine = {(p.step, p.item): p for p in Permit.objects.filter(run_id=run_id)}
    _give_back(books, mine, ended_in(decisions))
    state = decisions[-1].state if decisions else loaded.state
    for start in starts:
        key = start.take.key if start.take is not None else None
        name = connection_of(plan, start.decision.state, key) if key is not None else None
        book = books.get(bound.real(place, name) or "")
        if key is not None:
            _leave_another(books, mine, key, book)
        if key is None or book is None:
            asked.starts.append(start)
        elif not _ask_one(asked, book, _ticket(asked, book, mine.get(key), key), plan, state, start):
            asked.refused.add(key)
            break  # those after it were decided on top of it; their rows are due as they were
        state = start.decision.state
    for book in books.values():
        permits.pump(book)
        book.save()
    return asked


def _give_back(books: Mapping[str, Ledger], mine: dict[Key, Permit], ended: Sequence[Ended]) -> None:
    by_id = {book.id: book for book in books.values()}
    for one in ended:
        permit = mine.get(one.key)
        book = by_id.get(permit.connection_id) if permit is not None else None
        if book is not None and permit is not None and permit.attempt == one.attempt and permit.taken_at is not None:
            book.end(mine.pop(one.key), one.outcome, one.after)


def _leave_another(books: Mapping[str, Ledger], mine: dict[Key, Permit], key: Key, book: Ledger | None) -> None:
    """Give up the place before a connection that the step's name no longer stands for."""
    known = mine.get(key)
    for other in books.values():
        if known is not None and other is not book and known.connection_id == other.id and known.taken_at is None:
            other.end(mine.pop(key))


def _ticket(asked: Asked, book: Ledger, known: Permit | None, key: Key) -> Permit:
    """The step's place in the line, from before or at its end."""
    if known is not None and known.connection_id == book.id and known.taken_at is None:
        return known
    if known is not None:  # of an attempt whose end nobody told, or of the connection its fallback took over from
        Permit.objects.filter(pk=known.pk).delete()
        book.counted.pop(known.pk, None)
    return Permit(connection_id=book.id, run_id=asked.run_id, step=key[0], item=key[1], since=book.now)


def _ask_one(asked: Asked, book: Ledger, permit: Permit, plan: Plan, state: State, start: Start) -> bool:
    """False where the step does not begin: it waits, or is turned away."""
    key, new = (permit.step, permit.item), permit.pk is None
    has_fallback = plan.step(key[0]).fallback is not None and not state.step(*key).fallback
    # what undoes, and what asks whether an earlier attempt happened, waits, however long
    waits = key[0].endswith(UNDO) or state.step(*key).doubt is not None
    if (
        permit.due is None
        and not waits
        and gate.turns_away(book.limits, book.book, book.usage, has_fallback=has_fallback)
    ):
        if not new:
            book.end(permit)
        asked.instead.append(asked.decide(state, _turned_away(book, key), book.now))
        return False
    permit.falls = _falls(book, has_fallback) and not waits
    permits.pump(book, before=permit.since)
    book.admit(permit, asked.owner, start.decision.state.step(*key).attempt)
    if permit.taken_at is not None:
        asked.starts.append(start if new else _was_held(start, permit))
        return True
    asked.held.append(permit)
    if new and key[1] == NO_ITEM:  # the step stays ready; the history says so once
        asked.instead.append(Decision(state, events=(Event("step.held", *key, data={"by": permit.why}),)))
    return False


def _falls(book: Ledger, has_fallback: bool) -> bool:
    """Is it turned away should the breaker open while it waits?"""
    rules = book.limits.breaker
    return rules is not None and (rules.on_open == "fail" or (rules.on_open == "fallback" and has_fallback))


def _turned_away(book: Ledger, key: Key) -> given.TurnedAway:
    how = "was opened by hand" if book.book.by else "is open after too many failures"
    message = f"The circuit breaker of connection {book.name} {how}; nothing was sent."
    return given.TurnedAway(*key, error={"class": "circuit_open", "message": message})


def _was_held(start: Start, permit: Permit) -> Start:
    """The start's entry in the history says how long it was held."""
    decision = start.decision
    held = {"held": round(max(0.0, (permit.taken_at or permit.since) - permit.since), 3)}
    events = tuple(replace(e, data={**e.data, **held}) if e.type == "step.started" else e for e in decision.events)
    return replace(start, decision=replace(decision, events=events))
