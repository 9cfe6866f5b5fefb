"""A write: its statements in one transaction, with its key where it is idempotent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flows.steps.db import cells, reading, values
from flows.steps.db.errors import Meaning

Json = Any
#: characters of an output that is kept with its key
MAX_RESULT = 65_000
_TABLE = (
    "CREATE TABLE {table} (idempotency_key VARCHAR(255) NOT NULL PRIMARY KEY, "
    "done_at {moment} NOT NULL DEFAULT CURRENT_TIMESTAMP, result {text})"
)
_MOMENTS = {"postgres": "TIMESTAMP WITH TIME ZONE"}
_CLAIM = {
    "postgres": "INSERT INTO {table} (idempotency_key) VALUES (:key) ON CONFLICT (idempotency_key) DO NOTHING",
    "mysql": "INSERT IGNORE INTO {table} (idempotency_key) VALUES (:key)",
    "sqlite": "INSERT OR IGNORE INTO {table} (idempotency_key) VALUES (:key)",
}


class Broken(Exception):
    """What the step asks for does not hold; everything is rolled back."""

    def __init__(self, meaning: Meaning) -> None:
        super().__init__(meaning.message)
        self.meaning = meaning


def run(opened: Any, config: Mapping[str, Json], key: str) -> tuple[Json, bool]:
    """(the output, was it done by an earlier attempt). Committed. Raises Broken, cells.TooLong, driver errors."""
    table = config["key_table"]
    if config["idempotent"] and not _claimed(opened, table, key):
        kept = opened.execute(f"SELECT result FROM {table} WHERE idempotency_key = :key", {"key": key}).scalar()  # noqa: S608
        opened.rollback()
        return json.loads(kept), True
    output = _statements(opened, config)
    _check(config, output["changed"])
    if config["idempotent"]:
        _keep(opened, table, key, output)
    opened.commit()
    return output, False


def _claimed(opened: Any, table: str, key: str) -> bool:
    """False: an attempt with this key was committed. One that runs is waited for."""
    return bool(opened.execute(_CLAIM[opened.kind].format(table=table), {"key": key}).rowcount)


def _keep(opened: Any, table: str, key: str, output: Json) -> None:
    result = json.dumps(output, separators=(",", ":"))
    if len(result) > MAX_RESULT:
        said = f"The output of an idempotent write is kept with its key and has {len(result)} characters; "
        raise Broken(Meaning("limit", f"{said}{MAX_RESULT} are allowed. Nothing was changed. Return fewer rows."))
    note = f"UPDATE {table} SET result = :result WHERE idempotency_key = :key"  # noqa: S608  a checked name
    opened.execute(note, {"result": result, "key": key})


def table_missing(kind: str, table: str, error: BaseException) -> bool:
    """Is it the table of keys that the error misses?"""
    name = table.rpartition(".")[2]
    missing = {
        "postgres": getattr(error, "sqlstate", None) == "42P01",
        "mysql": bool(error.args) and error.args[0] == 1146,
        "sqlite": "no such table" in str(error),
    }
    return missing[kind] and name in str(error)


def create_table(opened: Any, table: str) -> None:
    """In a transaction of its own."""
    sql = _TABLE.format(
        table=table, moment=_MOMENTS.get(opened.kind, "TIMESTAMP"),
        text="MEDIUMTEXT" if opened.kind == "mysql" else "TEXT",
    )  # fmt: skip
    opened.execute(sql + (" ENGINE=InnoDB" if opened.kind == "mysql" else ""), {})
    opened.commit()


def _statements(opened: Any, config: Mapping[str, Json]) -> dict[str, Json]:
    each: list[int] = []
    rows: reading.Rows | None = None
    for text in config["statements"]:
        bound = values.bind(opened.kind, text, config["params"])
        result = opened.execute(bound.text, bound.params, expand=bound.lists)
        each.append(max(result.rowcount, 0) if not _only_reads(bound.first) else 0)
        if result.returns_rows:
            rows = reading.Rows(config, cells.columns_of(result.keys()))
            for found in result:
                rows.take(found)
            each[-1] = each[-1] or (0 if _only_reads(bound.first) else rows.count)
        _check_most(config, sum(each))
    shown = rows.output(None) if rows is not None else {"columns": [], "rows": [], "row_count": 0, "truncated": False}
    shown.pop("resource", None)
    return {"changed": sum(each), "each": each, **shown}


def _only_reads(first: str) -> bool:
    return first in ("select", "values", "table", "show", "explain")


def _check_most(config: Mapping[str, Json], changed: int) -> None:
    most = config["max_changed"]
    if most is not None and changed > most:
        raise Broken(Meaning("contract", f"{changed} rows would be changed, at most {most} are allowed. Nothing was."))


def _check(config: Mapping[str, Json], changed: int) -> None:
    expected = config["expect"]
    if expected is not None and changed != expected["rows"]:
        said = f"{changed} rows would be changed, {expected['rows']} are expected. Nothing was."
        raise Broken(Meaning("contract", said, details={"changed": changed, "expected": expected["rows"]}))
