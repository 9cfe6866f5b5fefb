"""What leaves: the published types of events, what each says, and the JSON Schema that is served for it. Pure.

A type of the history that is not listed here is not published. Adding a field to a type keeps its version; taking one
away or changing its meaning makes a new version.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = Any
PREFIX: Final = "orchestra."
#: what a subscription's test sends; no entry of any history
TEST: Final = "test"
_PATTERN = re.compile(r"\*|[a-z]+\.(\*|[a-z_]+)")

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SECONDS: Final = {"type": "number", "minimum": 0, "description": "Seconds."}
_TIME: Final = {"type": ["number", "null"], "description": "Epoch seconds."}
_ERROR: Final = {
    "type": ["object", "null"],
    "properties": {"class": _TEXT, "message": _TEXT, "step": _TEXT},
    "description": "What went wrong; details stay here.",
}
_OUTPUT: Final = {
    "description": "Only where the subscription asks for outputs; null with `output_omitted` if too large."
}
_REASON: Final = {"reason": _TEXT}
_FAILED: Final = {"error": _ERROR}
_DONE: Final = {"output": _OUTPUT, "output_omitted": {"const": True}}


@dataclass(frozen=True, slots=True)
class Published:
    """`type` as in the history. `fields`: what is taken of the entry's data, by name, with its JSON Schema.

    `status`: what the event's subject (run, step or approval) is after it.
    """

    type: str
    says: str
    status: str
    fields: Mapping[str, Json]
    version: int = 1

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.type}.v{self.version}"


_ALL: Final = (
    Published("run.created", "A run was started and is about to be worked on.", "queued", {}),
    Published("run.queued", "The run waits for a place of its concurrency key.", "queued", {"key": _TEXT}),
    Published("run.admitted", "The run got its place.", "running", {}),
    Published("run.started", "The first worker took the run.", "running", {}),
    Published("run.pause_requested", "Somebody paused the run; attempts in flight end first.", "pausing", _REASON),
    Published("run.paused", "Nothing of the run is in flight any more.", "paused", {}),
    Published("run.resumed", "Somebody resumed the run.", "running", _REASON),
    Published("run.cancel_requested", "Somebody cancelled it; attempts in flight end first.", "cancelling", _REASON),
    Published("run.terminate_requested", "Somebody ended the run at once; nothing is undone.", "cancelled", _REASON),
    Published("run.compensating", "What the run did is being undone.", "compensating", {"steps": _COUNT}),
    Published(
        "run.cancelled", "The run ended as cancelled.", "cancelled",
        {**_REASON, "terminated": {"type": "boolean"}, "not_undone": {"type": "array"}},
    ),
    Published("run.succeeded", "The run ended well.", "succeeded", _DONE),
    Published("run.failed", "The run gave up.", "failed", _FAILED),
    Published("run.timed_out", "The run's deadline passed.", "timed_out", _FAILED),
    Published(
        "run.deadline", "The run's whole time is up; what it declared for that follows.", "running",
        {"deadline": _SECONDS},
    ),
    Published("run.sla_missed", "The run takes longer than its sla.", "running", {"sla": _SECONDS}),
    Published("run.retry_requested", "Somebody had a run that gave up go on.", "running", _REASON),
    Published("run.reopened", "A run that had ended goes on.", "running", {}),
    Published("run.dismissed", "Somebody took a run that gave up off the dead letters.", "failed", _REASON),
    Published("run.forked", "The run goes on from a step of another one.", "running", {"of": _TEXT, **_REASON}),
    Published("step.started", "An attempt of the step began.", "running", {"attempt": _COUNT, "pass": _COUNT}),
    Published("step.succeeded", "The step has its result.", "succeeded", {"attempt": _COUNT, **_DONE}),
    Published(
        "step.retrying", "An attempt failed; another one follows.", "backoff",
        {"attempt": _COUNT, "error": _ERROR, "wake_at": _TIME},
    ),
    Published("step.failed", "The step has failed for good.", "failed", {"attempt": _COUNT, "error": _ERROR}),
    Published("step.lost", "The worker vanished; the outcome is not known.", "ready", {"attempt": _COUNT}),
    Published("step.unknown", "A person must say what became of the step.", "unknown", {"attempt": _COUNT}),
    Published("step.skip_requested", "Somebody had a failed step passed over.", "skipped", _REASON),
    Published("step.complete_requested", "Somebody gave the result of a failed step.", "succeeded", _REASON),
    Published(
        "step.outcome_said", "Somebody said what became of the step: done, not_done or again.", "ready",
        {"outcome": _TEXT, **_REASON},
    ),
    Published("step.reopened", "The step is done once more, in a new pass.", "pending", {"pass": _COUNT, **_REASON}),
    Published("step.waiting", "The step waits for a signal or a time.", "waiting", {"kind": _TEXT, "until": _TIME}),
    Published("step.answered", "The signal came; what it carried stays here.", "succeeded", {"kind": _TEXT}),
    Published("step.time_up", "The wait's time was up.", "waiting", {"kind": _TEXT}),
    Published("step.fallback", "Attempts were spent and the fallback was used.", "succeeded", _FAILED),
    Published("step.skipped", "The step was skipped.", "skipped", _REASON),
    Published("step.cancelled", "The step was cancelled with its run.", "cancelled", {}),
    Published("approval.requested", "People are asked to decide.", "open", {"request": _TEXT, "title": _TEXT}),
    Published(
        "approval.decided", "Somebody voted; with enough votes the step goes on.", "decided",
        {"request": _TEXT, "verdict": _TEXT, "by": _TEXT, "comment": _TEXT, "digest": _TEXT},
    ),
    Published("approval.expired", "Nobody decided in time.", "expired", {"request": _TEXT}),
    Published("approval.withdrawn", "The question was taken back with its run.", "withdrawn", {"request": _TEXT}),
    Published(
        "approval.superseded", "What would be done has changed: another request asks again.", "superseded",
        {"request": _TEXT},
    ),
)  # fmt: skip
#: by the history's type
PUBLISHED: Final[Mapping[str, Published]] = {kind.type: kind for kind in _ALL}
TEST_TYPE: Final = Published(TEST, "A subscription was tried out.", "test", {"subscription": _TEXT})
#: by the public name, the test's included
BY_NAME: Final[Mapping[str, Published]] = {kind.name: kind for kind in (*_ALL, TEST_TYPE)}

_ABOUT: Final[Mapping[str, Json]] = {
    "run": {"type": "string", "description": "Id of the run."},
    "flow": {"type": "string", "description": "The flow's slug."},
    "folder": _TEXT,
    "release": {"type": "string", "description": "Version of the release the run is pinned to."},
    "seq": {"type": "integer", "minimum": 1, "description": "Number within the run's history, without gaps."},
    "status": {"type": "string", "description": "Of what the event is about, after it."},
    "step": {"type": "string", "description": "Only in events of a step or an approval."},
    "item": {"type": "integer", "minimum": 0, "description": "Only where the step is an item of a fan-out."},
    "actor": {"type": "string", "description": "Who did it; empty for the engine."},
    "at": {"type": "string", "format": "date-time"},
    "url": {"type": "string", "description": "The run's page."},
}
_ALWAYS: Final = ("run", "flow", "folder", "release", "seq", "status", "actor", "at", "url")


def bad_patterns(patterns: Iterable[str]) -> list[str]:
    """Those that no published type can match."""
    return [p for p in patterns if not _PATTERN.fullmatch(p) or not any(_fits(p, t) for t in PUBLISHED)]


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """The history's types that leave for a subscription with these patterns: `run.failed`, `run.*` or `*`."""
    wanted = list(patterns)
    return frozenset(t for t in PUBLISHED if any(_fits(p, t) for p in wanted))


def _fits(pattern: str, type_: str) -> bool:
    return fnmatch.fnmatchcase(type_, pattern)


def schema_of(kind: Published, base_url: str) -> dict[str, Json]:
    """JSON Schema (2020-12) of the event's `data`. New fields may come within a version: unknown ones are allowed."""
    about = {"at": _ABOUT["at"]} if kind is TEST_TYPE else dict(_ABOUT)
    required = [*kind.fields, "at"] if kind is TEST_TYPE else list(_ALWAYS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_url(kind, base_url),
        "title": kind.name,
        "description": kind.says,
        "type": "object",
        "required": required,
        "properties": {**about, **kind.fields},
    }


def schema_url(kind: Published, base_url: str) -> str:
    return f"{base_url}/schemas/events/{kind.name}.json"
