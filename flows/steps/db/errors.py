"""What an error of a database means for the step: try again or failed, and a sentence without anybody's data. Pure."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from flows.steps.base import Fail, Json, Outcome, Retry, StepError

WRITES = "This statement changes data, and the step only reads: set `write: true` if it is meant to."


@dataclass(frozen=True, slots=True)
class Meaning:
    """`again`: a retry may help."""

    cls: str
    message: str
    again: bool = False
    details: Json = None


#: SQLSTATE, or its first two characters, of PostgreSQL: (class, may be tried again)
_POSTGRES: dict[str, tuple[str, bool]] = {
    "57014": ("timeout", True), "25006": ("refused", False), "42501": ("refused", False), "53300": ("connect", True),
    "40001": ("conflict", True), "40P01": ("conflict", True), "55P03": ("conflict", True), "57P01": ("network", True),
    "57P02": ("network", True), "57P03": ("connect", True), "08": ("network", True), "28": ("refused", False),
    "53": ("limit", True), "54": ("limit", False), "40": ("conflict", True), "58": ("internal", True),
    "XX": ("internal", True),
}  # fmt: skip
#: numbers of MySQL and MariaDB
_MYSQL: dict[int, tuple[str, bool]] = {
    **dict.fromkeys((1205, 1213, 1020, 1637), ("conflict", True)),
    **dict.fromkeys((1317, 1969, 3024), ("timeout", True)),
    **dict.fromkeys((2003, 1040, 1203, 1226), ("connect", True)),
    **dict.fromkeys((0, 2006, 2013, 2014, 2027, 1053, 1158, 1159, 1160, 1161, 1927, 4031), ("network", True)),
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1290, 1370, 1419, 1698, 1792, 3118), ("refused", False)),
    **dict.fromkeys((1021, 1037, 1038, 1041, 1114), ("limit", True)),
}
#: names of SQLite's results, without what stands behind the second _
_SQLITE: dict[str, tuple[str, bool]] = {
    "BUSY": ("timeout", True), "LOCKED": ("conflict", True), "INTERRUPT": ("timeout", True),
    "READONLY": ("refused", False), "AUTH": ("refused", False), "PERM": ("refused", False),
    "TOOBIG": ("limit", False), "FULL": ("limit", True), "IOERR": ("internal", True), "NOMEM": ("limit", False),
}  # fmt: skip


def meaning(kind: str, error: BaseException) -> Meaning:
    """Of what the driver raised."""
    if isinstance(error, UnicodeError):
        return Meaning("input", f"A text is not what the database says it is: {type(error).__name__}.")
    return {"postgres": _postgres, "mysql": _mysql, "sqlite": _sqlite}[kind](error)


def _postgres(error: Any) -> Meaning:
    state, diag = getattr(error, "sqlstate", None), getattr(error, "diag", None)
    said = (
        (getattr(diag, "message_primary", None) or str(error)).splitlines()[0] if str(error) else type(error).__name__
    )
    if state is None:
        broken = type(error).__name__ in ("OperationalError", "InterfaceError")
        return Meaning("network" if broken else "input", f"{_sentence(said)}", again=broken)
    cls, again = _POSTGRES.get(state) or _POSTGRES.get(state[:2]) or ("input", False)
    if state == "25006":
        return Meaning(cls, f"{WRITES} ({said})")
    details: dict[str, Json] = {"sqlstate": state}
    for key, name in (("constraint_name", "constraint"), ("table_name", "table"), ("column_name", "column")):
        if value := getattr(diag, key, None):
            details[name] = value
    if position := getattr(diag, "statement_position", None):
        details["position"] = int(position)
        said += f" (at character {position})"
    return Meaning(cls, _sentence(said), again, details)


def _mysql(error: Any) -> Meaning:
    number, said = error.args[:2] if len(error.args) > 1 else (0, str(error) or type(error).__name__)
    if not isinstance(number, int):
        number, said = 0, str(error)
    if number == 1792:
        return Meaning("refused", f"{WRITES} ({said})")
    broken = type(error).__name__ in ("OperationalError", "InterfaceError")
    cls, again = _MYSQL.get(number, ("input", False)) if number or broken else ("input", False)
    return Meaning(cls, _sentence(str(said)), again, {"number": number})


def _sqlite(error: Any) -> Meaning:
    name = getattr(error, "sqlite_errorname", None) or ""
    cls, again = _SQLITE.get(name.removeprefix("SQLITE_").split("_")[0], ("input", False))
    if name.startswith("SQLITE_READONLY"):
        return Meaning(cls, f"{WRITES} ({error})")
    if isinstance(error, sqlite3.Error) and "one statement at a time" in str(error):
        return Meaning("input", "It holds several statements; give them one by one as `statements`.")
    if cls == "timeout":
        return Meaning(
            cls, "The time was up." if "INTERRUPT" in name else "Somebody else holds a lock on the file.", True
        )
    return Meaning(cls, _sentence(str(error)), again, {"result": name} if name else None)


def _sentence(text: str) -> str:
    text = " ".join(text.split())[:600]
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def outcome(found: Meaning, name: str, *, acted: bool) -> Outcome:
    """`name` of the connection. `acted`: may something have been changed?"""
    error = StepError(found.cls, f"{name}: {found.message}", found.details)
    return Retry(error, acted=acted) if found.again else Fail(error)
