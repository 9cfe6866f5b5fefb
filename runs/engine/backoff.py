"""When to try again. A policy gives a time or None; it never reads a clock or a random source."""

from __future__ import annotations

from flows.definition.plan import Retry


def may_help(policy: Retry, error_class: str) -> bool:
    """Does the flow's policy allow retrying this class at all?"""
    if error_class in policy.give_up_on:
        return False
    return not policy.on or error_class in policy.on


def next_try(
    policy: Retry,
    *,
    tries: int,
    first_at: float,
    now: float,
    rand: float,
    after: float | None = None,
) -> float | None:
    """Epoch seconds of the next attempt, or None when the attempts or the window are spent.

    Exponential backoff with full jitter: uniform between 0 and the capped delay
    (source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    `after`: seconds the other side asked for; the attempt is never earlier than that.
    """
    if tries >= policy.max_attempts:
        return None
    # the exponent is bounded so that a large count cannot overflow a float
    delay = min(policy.max, policy.initial * policy.factor ** min(tries - 1, 64))
    if policy.jitter == "full":
        delay *= rand
    if after is not None:
        delay = max(delay, after)
    if policy.window is not None and now + delay > first_at + policy.window:
        return None
    return now + delay
