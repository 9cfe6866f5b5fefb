"""Reads SQL as far as needed: which values it names, where lists stand, what kind of statement it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: what is no code: comments, texts, quoted names, dollar-quoted texts; then a name of a value; then a word
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<text>(?<=[eE][sS][cC][aA][pP][eE]\s)'\\' | '(?:[^'\\]|''|\\.)*(?:'|\Z) | "(?:[^"\\]|""|\\.)*(?:"|\Z)
        | `[^`]*(?:`|\Z) | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$).*?(?:(?P=dollar)|\Z))
    |(?P<cast>::)
    |\\:
    |(?<![\w\\]):(?P<name>[A-Za-z_]\w*)
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<other>[^\s\w])""",
    re.VERBOSE | re.DOTALL,
)
#: looked for in the whole text, whatever a scanner takes for a comment: files of the server, and comments that run
_FILES = re.compile(r"\b(outfile|dumpfile)\b|/\*M?!", re.IGNORECASE)
#: what starts, ends or marks a transaction: the step is one already
_TRANSACTION = {"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "xa", "lock", "unlock"}
#: what reads or writes beside the protocol
_BESIDE = {
    "copy",
    "load",
    "handler",
    "delimiter",
    "vacuum",
    "attach",
    "detach",
    "pragma",
    "listen",
    "prepare",
    "deallocate",
}
_READS = {"select", "with", "values", "table", "show", "describe", "desc", "explain"}
#: what MySQL commits by itself
_COMMITS = {
    "create", "alter", "drop", "truncate", "rename", "grant", "revoke", "analyze", "optimize", "repair", "flush",
    "install", "uninstall", "set", "reset", "cache", "check", "call",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """`text`: with what is no name of a value escaped, as SQLAlchemy reads it. `names` it binds; `lists`: those behind
    IN. `words`: those outside texts and comments, in small letters. `files`: it may write some on the server."""

    text: str
    names: frozenset[str]
    lists: frozenset[str]
    words: tuple[str, ...]
    several: bool
    files: bool

    @property
    def first(self) -> str:
        return self.words[0] if self.words else ""


def read(sql: str) -> Statement:
    out: list[str] = []
    names, lists, words = set[str](), set[str](), list[str]()
    position, ends, several = 0, False, False
    before: tuple[str, ...] = ("", "")
    for match in _TOKEN.finditer(sql):
        out.append(sql[position : match.start()])
        position = match.end()
        token = match.group()
        if match["comment"] is not None:
            out.append(" ")  # left out: its words are no part of what is done
            continue
        semicolon = token.startswith(";")
        several |= ends and not semicolon
        ends |= semicolon
        if match["name"]:
            names.add(match["name"])
            if before[-1] == "in" or before[-2:] == ("in", "("):
                lists.add(match["name"])
        if match["word"]:
            words.append(token.lower())
        out.append(token.replace(":", "\\:") if match["text"] is not None else token)
        before = (*before[-1:], token.lower())
    out.append(sql[position:])
    text = "".join(out)
    for name in lists:  # an expanding value brings its own parentheses
        text = re.sub(rf"\(\s*:{name}\s*\)", f":{name}", text)
    return Statement(text, frozenset(names), frozenset(lists), tuple(words), several, _FILES.search(sql) is not None)


def refusal(statement: Statement) -> str | None:
    """Why a step does not run this statement; None: it may. A first look: the server has the last word."""
    first = statement.first
    if not first:
        return "there is no statement in it"
    if statement.several:
        return "it holds several statements; give them one by one as `statements`"
    if first in _TRANSACTION:
        return f"{first.upper()} is not for a step to say: all its statements are one transaction already"
    if first in _BESIDE:
        return f"{first.upper()} is not possible here"
    if statement.files:
        return "no files are written on the server (OUTFILE, DUMPFILE), and no comment is run (/*!)"
    return None


def is_bounded(sql: str) -> bool:
    """Does it say itself how many rows there are at most?"""
    words = read(sql).words
    return bool({"limit", "fetch"} & set(words)) or words[1:2] in (("count",), ("sum",), ("max",), ("min",), ("avg",))


def is_read(statement: Statement) -> bool:
    """Does it begin as what only reads? MySQL's read-only transactions let some other things pass."""
    return statement.first in _READS


def commits_itself(statement: Statement, kind: str) -> bool:
    """Would MySQL commit what went before it, and this?"""
    return kind == "mysql" and statement.first in _COMMITS
