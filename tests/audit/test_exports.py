"""An export of the audit log verifies without the database, and every kind of tampering with the file shows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from resources import audit
from resources.errors import BadInput
from resources.models import AuditEntry
from resources.trail import export, offline
from tests.api.conftest import Caller

pytestmark = pytest.mark.db_matrix


def exported(kind: export.Format) -> str:
    return b"".join(export.pieces(AuditEntry.objects.all(), kind)).decode()


def verified(text: str, **how: Any) -> offline.Verified:
    return offline.verify(io.StringIO(text, newline=""), **how)


def found(text: str, **how: Any) -> list[tuple[int, str]]:
    return [(f.seq, f.kind) for f in verified(text, **how).findings]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_export_says_all_that_was_written_and_verifies(
    log: list[AuditEntry], kind: export.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH", 4)
    done = verified(exported(kind))
    assert (done.first, done.last, done.count, done.hash, done.findings) == (1, 6, 6, log[-1].hash, [])
    again = list(export.read(io.StringIO(exported(kind), newline="")))
    assert [export.fields(entry) for entry in again] == [export.fields(e) for e in AuditEntry.objects.order_by("seq")]


def test_no_cell_of_the_csv_is_a_formula(log: list[AuditEntry]) -> None:
    for row in csv.reader(io.StringIO(exported("csv"), newline="")):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def _lines(change: Callable[[list[Any]], object]) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def changed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        change(lines)
        return lines

    return changed


def _rehash(lines: list[dict[str, Any]]) -> None:
    lines[2]["actor"] = "mallory"
    (entry,) = export.read(io.StringIO(json.dumps(lines[2])))
    lines[2]["hash"] = audit.digest(entry)


EDITS: list[tuple[str, Callable[[list[Any]], object], list[tuple[int, str]]]] = [
    ("a field", lambda lines: lines[2].update(actor="mallory"), [(3, "edited")]),
    ("the time", lambda lines: lines[0].update(at="2020-01-01T00:00:00.000000+00:00"), [(1, "edited")]),
    ("the data", lambda lines: lines[5].update(data={}), [(6, "edited")]),
    ("a new hash", _rehash, [(4, "unlinked")]),
    ("removed in the middle", lambda lines: lines.pop(3), [(5, "missing")]),
    ("put in twice", lambda lines: lines.insert(3, lines[2]), [(3, "missing")]),
    ("out of order", lambda lines: lines.reverse(), [(n, "missing") for n in (5, 4, 3, 2, 1)]),
]


@pytest.mark.parametrize(("what", "change", "expected"), EDITS, ids=[edit[0] for edit in EDITS])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_was_tampered_with_shows_it(
    log: list[AuditEntry], kind: str, what: str, change: Callable[[list[Any]], object], expected: list[tuple[int, str]]
) -> None:
    lines = [json.loads(line) for line in exported("jsonl").splitlines()]
    change(lines)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if kind == "csv":
        rows = [[json.dumps(v) if k == "data" else str(v) for k, v in line.items()] for line in lines]
        cells = [["'" + c if c.startswith(export._FORMULA) else c for c in row] for row in rows]
        text = export._table([export.FIELDS, *cells]).decode()
    assert found(text) == expected


def test_a_first_entry_that_claims_something_before_it_is_found(log: list[AuditEntry]) -> None:
    first = AuditEntry.objects.get(seq=1)
    first.previous_hash = "f" * 64
    first.hash = audit.digest(first)
    text = json.dumps(export.fields(first)) + "\n"
    assert found(text) == [(1, "unlinked")]


def test_a_cut_off_end_shows_by_the_hash_noted(log: list[AuditEntry]) -> None:
    lines = exported("jsonl").splitlines(keepends=True)
    noted = (6, log[-1].hash)
    assert found("".join(lines[:-1])) == [] and found("".join(lines[:-1]), anchor=noted) == [(6, "truncated")]
    assert found("".join(lines), anchor=noted) == []
    assert found("".join(lines), anchor=(6, "0" * 64)) == [(6, "truncated")]


def test_a_later_part_verifies_by_itself_and_a_selection_entry_by_entry(log: list[AuditEntry]) -> None:
    lines = exported("jsonl").splitlines(keepends=True)
    later = verified("".join(lines[3:]))
    assert (later.first, later.last, later.findings) == (4, 6, [])
    some = lines[0] + lines[5]
    assert found(some) == [(6, "missing")] and found(some, selection=True) == []
    assert found(some.replace("@home", "@work"), selection=True) == [(6, "edited")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]\n",
        '{"seq": 1}\n',
        "null\n",
        "[" * 100_000,
        ",".join(export.FIELDS) + "\n1,2\n",
        ",".join(export.FIELDS) + '\n"1',
        ",".join(export.FIELDS) + "\nx" + ",1" * 10 + "\n",
    ],
)
def test_what_is_no_export_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        verified(text)
    assert caught.value.stable_code == "bad_export" and "Entry 1" in caught.value.message


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_the_command_checks_what_page_and_api_give(
    log: list[AuditEntry],
    kind: str,
    client_of: Callable[[str], Client],
    api_of: Callable[[str], Caller],
    tmp_path: Path,
) -> None:
    call = api_of("root")  # its token is an entry, too
    seq, last = audit.head()
    page: Any = client_of("root").get(f"/audit/export.{kind}")
    answer = call("GET", f"/audit/export?format={kind}")
    body = b"".join(page.streaming_content)
    assert body == b"".join(answer.streaming_content)
    assert page["X-Audit-Head"] == answer["X-Audit-Head"] == f"{seq}:{last}"
    assert f"audit-{seq}.{kind}" in page["Content-Disposition"]
    path = tmp_path / "log"
    path.write_bytes(body)
    out = StringIO()
    call_command("verify_audit", file=str(path), anchor=f"{seq}:{last}", stdout=out)
    assert f"{seq} entries, 1 to {seq}:{last}: whole." in out.getvalue()
    path.write_bytes(body.replace(b"upkeep", b"picnic"))
    with pytest.raises(CommandError, match="1 finding") as caught:
        call_command("verify_audit", file=str(path), stdout=out)
    assert caught.value.returncode == 1 and "Entry 3 is not what was written" in out.getvalue()
    path.write_bytes(body[: len(body) - 20])
    with pytest.raises(CommandError, match=r"cannot be read|1 finding"):
        call_command("verify_audit", file=str(path), stdout=out)


def test_a_filtered_export_has_what_was_asked_for(log: list[AuditEntry], client_of: Callable[[str], Client]) -> None:
    page: Any = client_of("root").get("/audit/export.jsonl?object_id=greet")
    text = b"".join(page.streaming_content).decode()
    assert [json.loads(line)["action"] for line in text.splitlines()] == ["flow.created", "flow.moved"]
    assert "audit-selection-" in page["Content-Disposition"] and found(text, selection=True) == []
    assert client_of("root").get("/audit/export.xml").status_code == 404


@pytest.mark.parametrize("words", [["--selection"], ["--anchor", "1:x"], ["--file", "/nowhere/at/all"]])
def test_the_command_says_what_it_cannot_do(db: None, words: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("verify_audit", *words)
