"""Asking the index: one statement that knows who asks, so that nothing of a hidden folder counts or ranks.

Of many finds the newest RANKED are ranked: a question for a common word costs no more than that. What the page shows is
looked at once more, as it is now (runs/search/hits.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection, transaction

from resources.access import Actor, folders_for
from resources.errors import BadInput
from resources.paging import decode_cursor, encode_cursor
from runs.models import SearchEntry
from runs.search import words
from runs.search.documents import hash_of

Kind = SearchEntry.Kind
#: finds that are ranked and counted; there may be more
RANKED: Final = 1000
MAX_LIMIT: Final = 20
STATUSES: Final = ("open", "succeeded", "failed", "cancelled", "timed_out", "live", "draft")
#: what people name kinds by -> kind
KINDS: Final = {f"{kind.value}s": kind.value for kind in Kind}


@dataclass(frozen=True, slots=True)
class Asked:
    """`kinds`: of KINDS, none: all. `label`: name=text. `since`, `before`: epoch seconds. `limit`: 1 to MAX_LIMIT."""

    query: str
    kinds: tuple[str, ...] = ()
    flow: str = ""
    folder: str = ""
    label: str = ""
    status: str = ""
    since: float | None = None
    before: float | None = None
    limit: int = 10
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """`total`: how many there are, RANKED at most, and `more` says that there are more."""

    entries: list[tuple[SearchEntry, float]] = field(default_factory=list)
    total: int = 0
    more: bool = False
    next_cursor: str | None = None
    question: words.Question = field(default_factory=words.Question)


def bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


def find(actor: Actor, asked: Asked) -> Found:
    """The best first. Raises BadInput."""
    question, (top, skip) = _read(asked), _place(asked)
    where = _Where()
    if not question or not where.of(actor, asked, top):
        return Found(question=question)
    rows = sorted(_candidates(question, where), key=lambda row: (-row[1], -row[2], -row[0]))
    shown = rows[:RANKED][skip : skip + asked.limit]
    following = None
    if skip + asked.limit < min(len(rows), RANKED):
        top = top or max(row[0] for row in rows)
        following = encode_cursor(top, skip + asked.limit, _fingerprint(asked))
    entries = SearchEntry.objects.in_bulk([row[0] for row in shown])
    found = [(entries[pk], score) for pk, score, _ in shown if pk in entries]
    return Found(found, min(len(rows), RANKED), len(rows) > RANKED, following, question)


def _read(asked: Asked) -> words.Question:
    if not 1 <= asked.limit <= MAX_LIMIT:
        raise bad("limit", f"Ask for 1 to {MAX_LIMIT}.")
    if unknown := [kind for kind in asked.kinds if kind not in KINDS]:
        raise bad("in", f"There is no {unknown[0][:40]!r} to search in; there are {', '.join(KINDS)}.")
    if asked.status and asked.status not in STATUSES:
        raise bad("status", f"The status is one of {', '.join(STATUSES)}.")
    if asked.label and "=" not in asked.label:
        raise bad("label", "Ask for a label as name=text.")
    try:
        return words.read(asked.query)
    except words.TooMuch as error:
        raise bad("query", str(error)) from error


def _place(asked: Asked) -> tuple[int, int]:
    """(the newest entry of the first page, how many were shown): what is new since does not move the pages."""
    if not asked.cursor:
        return 0, 0
    top, skip, fingerprint = decode_cursor(asked.cursor, int, int, str)
    if fingerprint != _fingerprint(asked) or not 0 <= skip <= RANKED or not 0 < top < 1 << 62:
        raise BadInput("The cursor belongs to another question.", code="bad_cursor", hint="Start without a cursor.")
    return top, skip


def _fingerprint(asked: Asked) -> str:
    return hash_of(repr((asked.query, asked.kinds, asked.flow, asked.folder, asked.label, asked.status, asked.since,
                         asked.before)))  # fmt: skip


class _Where:
    """The condition on entries `e`, and its values."""

    def __init__(self) -> None:
        self.parts: list[str] = ["TRUE"]
        self.values: list[Any] = []

    def add(self, part: str, *values: Any) -> None:
        self.parts.append(part)
        self.values += values

    def of(self, actor: Actor, asked: Asked, top: int) -> bool:
        """False: there is nothing that `actor` may see."""
        folders = folders_for(actor, "viewer")
        if folders == []:
            return False
        self._seen(folders)
        if asked.folder.strip("/"):
            self._below([asked.folder.strip("/")], connections=False)
        if asked.kinds:
            self.add(f"e.kind IN ({_marks(asked.kinds)})", *(KINDS[kind] for kind in asked.kinds))
        for column, value in (("flow", asked.flow), ("status", asked.status)):
            if value:
                self.add(f"e.{column} = %s", value)
        if asked.label:
            name, _, text = asked.label.partition("=")
            self.add(f"{_POSITION[connection.vendor]}(e.labels, %s) > 0", f"\n{name}={text}\n")
        if asked.since is not None:
            self.add("e.at >= %s", asked.since)
        if asked.before is not None:
            self.add("e.at < %s", asked.before)
        if top:
            self.add("e.id <= %s", top)
        return True

    def _seen(self, folders: list[str] | None) -> None:
        if folders is not None:
            self._below(folders, connections=True)

    def _below(self, folders: list[str], *, connections: bool) -> None:
        """Runs and flows are where their flow is now; connections belong to no folder: whoever has a role sees them."""
        own, values = _within("e.folder", folders)
        flows, more = _within("f.folder", folders)
        anyway = " OR e.kind = 'connection'" if connections else ""
        of_flows = f"e.flow IN (SELECT f.slug FROM flows_flow f WHERE {flows})"  # noqa: S608  our own words
        self.add(
            f"((e.kind = 'resource' AND ({own})) OR (e.kind IN ('run', 'flow') AND {of_flows}){anyway})", *values, *more
        )


_POSITION: Final = {"postgresql": "strpos", "sqlite": "instr"}


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join(["%s"] * len(values))


def _within(column: str, folders: list[str]) -> tuple[str, list[Any]]:
    parts, values = [], list[Any]()
    for folder in folders:
        parts.append(f"{column} = %s OR substr({column}, 1, %s) = %s")
        values += [folder, len(folder) + 1, f"{folder}/"]
    return " OR ".join(parts), values


#: a planner that counts pages of the table holds reading it for cheap, though its vectors are elsewhere and packed
_BY_WORDS: Final = "SET LOCAL enable_seqscan TO off"
#: "+ 0": by no index on ids, so that the words decide where to look; ARRAY: and then only those that were found
_POSTGRES: Final = """
SELECT e.id, ts_rank(e.vector, %s::tsquery, 1), e.at FROM runs_searchentry e WHERE e.id = ANY(ARRAY(
  SELECT e.id FROM runs_searchentry e WHERE e.vector @@ %s::tsquery AND {where} ORDER BY e.id + 0 DESC LIMIT %s))
"""
_SQLITE: Final = """
SELECT e.id, -bm25(runs_searchwords, 8.0, 1.0), e.at
  FROM runs_searchwords CROSS JOIN runs_searchentry e ON e.id = runs_searchwords.rowid
 WHERE runs_searchwords MATCH %s AND {where} ORDER BY runs_searchwords.rowid DESC LIMIT %s
"""


def _candidates(question: words.Question, where: _Where) -> list[tuple[int, float, float]]:
    """(id, score, at) of the newest RANKED, and one more where there is."""
    condition = " AND ".join(where.parts)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            asked = words.tsquery(question)
            cursor.execute(_BY_WORDS)
            cursor.execute(_POSTGRES.format(where=condition), [asked, asked, *where.values, RANKED + 1])
        else:
            asked = words.match(question)
            cursor.execute(_SQLITE.format(where=condition), [asked, *where.values, RANKED + 1])
        return [(int(pk), float(score), float(at)) for pk, score, at in cursor.fetchall()]
