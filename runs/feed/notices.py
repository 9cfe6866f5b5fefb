"""Events -> topics and frames. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

#: what the lists of runs show of a step; its log lines and callbacks they do not
_LISTED_STEPS = frozenset(
    {
        "step.started", "step.succeeded", "step.retrying", "step.failed", "step.lost", "step.waiting", "step.answered",
        "step.skipped", "step.fanned", "step.fallback", "step.reopened", "step.unknown", "step.cancelled",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the history, as far as a notice needs it. `at` is epoch seconds."""

    id: int
    run: str
    seq: int
    type: str
    step: str
    item: int
    at: float
    flow: str
    folder: str


def topics_of(event: Event) -> tuple[str, ...]:
    topics = [f"run:{event.run}"]
    if event.type.startswith("run.") or event.type in _LISTED_STEPS:
        topics += ["runs", f"flow:{event.flow}"]
    if event.type.startswith("approval."):
        topics.append("inbox")
    return tuple(topics)


def coalesce(events: Iterable[Event]) -> list[tuple[str, Event]]:
    """(topic, event) to tell, in order: of equal notices only the last, since a notice only says "this changed".

    On a run's own topic every step and type stays; on lists the last one of each run says it all.
    """
    latest: dict[tuple[str, ...], tuple[str, Event]] = {}
    for event in events:
        for topic in topics_of(event):
            key = (topic, event.run) if topic in ("runs", f"flow:{event.flow}") else (
                topic, event.run, event.step, event.type,
            )  # fmt: skip
            latest.pop(key, None)
            latest[key] = (topic, event)
    return list(latest.values())


def frame(topic: str, event: Event) -> str:
    return json.dumps(
        {
            "topic": topic, "run": event.run, "flow": event.flow, "type": event.type, "step": event.step,
            "item": event.item, "seq": event.seq, "at": event.at, "id": event.id,
        },
        separators=(",", ":"),
    )  # fmt: skip


def refresh(topic: str) -> str:
    """Too much happened to tell it one by one: fetch what the topic shows again."""
    return json.dumps({"topic": topic, "type": "refresh"}, separators=(",", ":"))
