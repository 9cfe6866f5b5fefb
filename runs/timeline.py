"""Events of a run -> bars in percent of the span shown. Pure; `now` and all times are epoch seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Event(Protocol):
    """What is read of a RunEvent."""

    seq: int
    type: str
    step: str
    item: int
    at: float
    data: Any


@dataclass(slots=True)
class Span:
    """A piece of a step's life. kind: ok | fail | wait | back | human | run; `end` None: still going on."""

    kind: str
    start: float
    end: float | None = None
    attempt: int = 0
    title: str = ""


@dataclass(slots=True)
class Track:
    """All pieces of one step run, in order."""

    spans: list[Span] = field(default_factory=list)

    def close(self, at: float, kind: str = "", title: str = "") -> None:
        """End the open piece, if there is one; what it was may only be known now."""
        if self.spans and self.spans[-1].end is None:
            self.spans[-1].end = at
            if kind:
                self.spans[-1].kind = kind
            if title:
                self.spans[-1].title = title

    def open(self, kind: str, at: float, title: str, attempt: int = 0) -> None:
        self.close(at)
        self.spans.append(Span(kind, at, None, attempt, title))


def tracks(events: Iterable[Event]) -> dict[str, Track]:
    """Step id -> its track. Items of a fan-out share the track of their step: first start to last end."""
    found: dict[str, Track] = {}
    for event in events:
        if event.step and event.item < 0:
            _apply(found.setdefault(event.step, Track()), event)
        elif event.step and event.type == "step.started":
            track = found.setdefault(event.step, Track())
            if not track.spans or track.spans[-1].end is not None:
                track.open("run", event.at, "Running its items")
    return found


def _apply(track: Track, event: Event) -> None:
    kind = event.type
    attempt = int(event.data.get("attempt") or 0)
    if kind == "step.started":
        track.open("run", event.at, f"Attempt {attempt or 1}", attempt)
    elif kind == "step.waiting":
        human = event.data.get("kind") == "approval"
        word = "on a human" if human else str(event.data.get("kind") or "timer")
        track.close(event.at, "ok")
        track.open("human" if human else "wait", event.at, word)
    elif kind == "step.retrying":
        track.close(event.at, "fail", f"Attempt {attempt} failed")
        track.open("back", event.at, "Waiting to retry")
    elif kind == "step.round":
        track.close(event.at, "ok", f"Round {event.data.get('round', 1)}: not yet")
        track.open("back", event.at, "Waiting for the next round")
    elif kind == "step.handling":
        track.close(event.at, "fail")
        track.open("run", event.at, "What sees to it runs")
    elif kind in ("step.failed", "step.lost", "step.unknown", "step.attempt_failed"):
        track.close(event.at, "fail", f"Attempt {attempt} failed")
    elif kind in _CLOSES:
        last = track.spans[-1] if track.spans else None
        track.close(event.at, "ok" if last is not None and last.kind == "run" else "")


_CLOSES = frozenset(
    {
        "step.succeeded", "step.cancelled", "step.answered", "step.skipped", "step.discarded", "step.checked",
        "step.loaded",
    }
)  # fmt: skip


def chart(
    steps: Sequence[Mapping[str, Any]], events: Sequence[Event], *, start: float, end: float | None, now: float
) -> dict[str, Any]:
    """{rows: [{**step, took, attempts, bars}], ticks: [{x, seconds}], now_x}; x in percent; without `end` it runs."""
    last = end if end is not None else now
    span = max(last - start, 0.001) * (1.0 if end is not None else 1.06)
    found = tracks(events)
    rows = [_row(step, found.get(str(step["id"])), start, span, last) for step in steps]
    return {"rows": rows, "ticks": ticks(start, span), "now_x": None if end is not None else _x(now, start, span)}


def _row(step: Mapping[str, Any], track: Track | None, start: float, span: float, last: float) -> dict[str, Any]:
    spans = track.spans if track else []
    attempts = sum(1 for s in spans if s.attempt)
    took = (spans[-1].end or last) - spans[0].start if spans else None
    bars = [_bar(s, start, span, last, attempts > 1) for s in spans]
    return {**step, "took": took, "attempts": attempts, "bars": bars, "words": ", ".join(s.title for s in spans)}


def _bar(piece: Span, start: float, span: float, last: float, numbered: bool) -> dict[str, Any]:
    x = _x(piece.start, start, span)
    width = max(_x(piece.end if piece.end is not None else last, start, span) - x, 0.35)
    kind = "ok" if piece.kind == "run" and piece.end is not None else piece.kind
    return {
        "kind": kind,
        "x": f"{x:.2f}%",
        "width": f"{width:.2f}%",
        "title": piece.title,
        "number": piece.attempt if numbered and width > 2 else 0,
        "middle": f"{x + width / 2:.2f}%",
        "seconds": (piece.end if piece.end is not None else last) - piece.start,
        "text": piece.title if kind in ("human", "wait") and width > 12 else "",
    }


def _x(at: float, start: float, span: float) -> float:
    return min(100.0, max(0.0, (at - start) / span * 100))


_STEPS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 86400, 604800)


def ticks(start: float, span: float) -> list[dict[str, Any]]:
    """At most seven marks on round distances from the start: [{x: "12.5%", seconds: 60.0}]."""
    step = next((s for s in _STEPS if span / s <= 7), span / 6)
    count = int(span / step)
    return [
        {"x": f"{n * step / span * 100:.2f}%", "seconds": n * step}
        for n in range(1, count + 1)
        if n * step < span * 0.97
    ]
