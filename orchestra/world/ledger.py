"""What happened in the demo world. One JSON line an event; the lines alone give the state back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("deploy", "payments", "status")
PLAIN = "plain-"
MAX_REMEMBERED_BYTES = 2048


@dataclass(slots=True)
class Effect:
    """One row of `GET /effects`: how often a key was asked for, how often it took effect."""

    key: str
    kind: str
    requests: int = 0
    applied: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`answer` is the JSON body for the caller; `replayed` when it is the recorded answer of an earlier request."""

    answer: dict[str, Any]
    replayed: bool


class Ledger:
    """Applies requests and remembers them. Each change is on disk (in the system's cache) before it is answered,
    so a killed process loses no count. Not thread-safe: one event loop owns it.

    `path`: the JSON-lines file, or None to keep everything in memory. Raises OSError when it cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.effects: dict[tuple[str, str], Effect] = {}
        self.answers: dict[tuple[str, str], dict[str, Any]] = {}
        self.latest: dict[str, dict[str, Any]] = {}
        self.deployed: dict[str, dict[str, Any]] = {}
        self.number = 0
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._load(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _load(self, path: Path) -> None:
        """Read every whole line; a last line torn by a crash is cut off, so the next one starts clean."""
        if not path.exists():
            return
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].splitlines():
            self._take(json.loads(line))
        if whole < len(data):
            os.truncate(path, whole)

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(event, separators=(",", ":")).encode() + b"\n")
        self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        row = self.effects.setdefault((event["kind"], event["key"]), Effect(key=event["key"], kind=event["kind"]))
        row.requests += 1
        answer = event.get("answer")
        if answer is not None:
            row.applied += 1
            self.number = answer["number"]
            self.latest[event["kind"]] = answer
            self._deploy(event["kind"], answer)
            if event["key"]:
                self.answers[(event["kind"], event["key"])] = answer

    def _deploy(self, kind: str, answer: dict[str, Any]) -> None:
        """Remember what a service runs since a deploy that named it."""
        body = answer.get("received")
        if kind.endswith("deploy") and isinstance(body, dict) and isinstance(body.get("service"), str):
            self.deployed[body["service"]] = {"version": body.get("version"), "since": answer["at"]}

    def refuse(self, kind: str, key: str) -> None:
        """Count a request that was turned away: nothing took effect."""
        self._write({"kind": kind, "key": key})

    def apply(self, kind: str, key: str, body: Any, at: str) -> Outcome:
        """One request arrived. A kind that honours keys takes effect once for each key; a plain kind every time,
        and so does a request without a key. `at`: the time as ISO 8601."""
        recorded = self.answers.get((kind, key)) if key and not kind.startswith(PLAIN) else None
        if recorded is not None:
            self._write({"kind": kind, "key": key})
            return Outcome(recorded, replayed=True)
        number = self.number + 1
        answer = {"ok": True, "id": f"{kind}-{number}", "number": number, "kind": kind, "key": key, "at": at}
        if len(json.dumps(body)) <= MAX_REMEMBERED_BYTES:
            answer["received"] = body
        self._write({"kind": kind, "key": key, "answer": answer})
        return Outcome(answer, replayed=False)

    def rows(self) -> list[dict[str, Any]]:
        """`GET /effects`: a list of {key, kind, requests, applied} in order of first arrival."""
        return [
            {"key": row.key, "kind": row.kind, "requests": row.requests, "applied": row.applied}
            for row in self.effects.values()
        ]

    def clear(self) -> None:
        """Forget everything."""
        for table in (self.effects, self.answers, self.latest, self.deployed):
            table.clear()
        self.number = 0
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
