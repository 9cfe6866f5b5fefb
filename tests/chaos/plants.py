"""Faults planted in the program on purpose, one for each thing the checks look for: they must find every one.

Run `python -m tests.chaos --short --plant NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _no_fence(module: Any) -> None:
    """A holder that lost its row writes all the same: every fence of the queue is gone."""
    module.still_mine = lambda count, row: None


def _any_attempt(module: Any) -> None:
    """The core takes a result from any attempt that ever ran."""
    real = module.tries._attempt_ended

    def ended(turn: Any, event: Any) -> bool:
        step = turn.step(event.step, event.item)
        if step.status == "running" and step.attempt != event.attempt:
            turn.put(step, attempt=event.attempt)
        return bool(real(turn, event))

    module._HANDLERS[module.given.AttemptEnded] = ended


def _new_key_each_attempt(module: Any) -> None:
    """The idempotency key differs from attempt to attempt."""
    real = module.idempotency_key
    module.idempotency_key = lambda run_id, step: f"{real(run_id, step)}" + ("" if step.attempt < 2 else "x")


def _same_key_twice(module: Any) -> None:
    """The request is sent twice where the endpoint ignores the key."""
    real = module.fetch

    def fetch(client: Any, request: Any, **limits: Any) -> Any:
        if "/plain/" in str(request.url):
            real(client, request, **limits)
        return real(client, request, **limits)

    module.fetch = fetch


def _repeats_the_irreversible(module: Any) -> None:
    """What cannot be undone is believed to be repeatable."""
    module.is_repeatable = lambda plan, action: True


def _loses_work(module: Any) -> None:
    """Every now and then a step that became ready is forgotten by the queue."""
    import random

    real = module._wanted

    def wanted(commands: Any) -> Any:
        found = real(commands)
        return {k: at for k, at in found.items() if at is None or random.random() > 0.05}

    module._wanted = wanted


def _starts_while_paused(module: Any) -> None:
    module.RUN_HELD = frozenset()


def _forgets_a_cause(module: Any) -> None:
    """One kind of input is not recorded as the cause it is."""
    real = module.Turn.cause

    def cause(self: Any, type_: str, data: Any, **more: Any) -> None:
        if type_ == "step.answered":
            more["actor"] = ""
            self.tell(type_, more.get("step"), data)
            return
        real(self, type_, data, **more)

    module.Turn.cause = cause


def _start_key_ignored(module: Any) -> None:
    module._claim_key = lambda run, source, key: None


def _undoes_forwards(module: Any) -> None:
    real = module.to_undo

    module.to_undo = lambda *args, **more: list(reversed(real(*args, **more)))


Plant = tuple[str, Callable[[Any], None]]
_GENTLE = ("--only", "redis flushed")
#: name -> the modules it spoils, and the arguments of a campaign that bring it to light
PLANTS: dict[str, tuple[tuple[Plant, ...], tuple[str, ...]]] = {
    "zombie-writes": (
        (("runs.queue_rows", _no_fence), ("runs.engine.decide", _any_attempt)),
        ("--only", "stop worker", "--flows", "chaos-pay", "--ms", "2000", "--runs", "10", "--workers", "6"),
    ),
    "new-key": (
        (("runs.attempts", _new_key_each_attempt),),
        ("--only", "kill worker", "--flows", "chaos-pay"),
    ),
    "repeats-irreversible": (
        (("runs.attempts", _repeats_the_irreversible), ("runs.acting", _repeats_the_irreversible)),
        ("--only", "kill worker", "--flows", "chaos-gate"),
    ),
    "sent-twice": ((("flows.steps.http.sending", _same_key_twice),), _GENTLE),
    "loses-work": ((("runs.queue_rows", _loses_work),), _GENTLE),
    "starts-while-paused": (
        (("runs.engine.tries", _starts_while_paused), ("runs.slice", _starts_while_paused)),
        (*_GENTLE, "--flows", "chaos-pay", "--ms", "60", "--pauses", "0.9"),
    ),
    "forgets-a-cause": ((("runs.engine.turn", _forgets_a_cause),), _GENTLE),
    "start-key-ignored": ((("runs.actions", _start_key_ignored),), _GENTLE),
    "undoes-forwards": ((("runs.engine.ending", _undoes_forwards),), (*_GENTLE, "--flows", "chaos-saga")),
}
