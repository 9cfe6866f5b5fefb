"""Reads the actions that stand beside a step's own: its fallback, and the question whether it happened. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.definition.shape import Reporter, Shape
from flows.definition.yaml_source import Path
from flows.steps.configs import CONFIGS, normalise

Json = Any
#: (family, config), both None where it is no action; None instead of the pair: wrong, and reported
Found = tuple[str | None, dict[str, Json] | None]

#: families that end by somebody or something else, so that they are steps of their own
WAITING = ("approval", "wait", "sleep", "route", "call", "job")


def read_config(shape: Shape, family: str, raw: Json, path: Path) -> dict[str, Json] | None:
    """The config in its long form, None where it is wrong."""
    config = normalise(family, raw)
    return config if shape.check(CONFIGS[family], config, path, family, also=()) is not None else None


def read_fallback(document: Reporter, shape: Shape, path: Path, raw: dict[str, Json]) -> Found | None:
    """A value and `last_good` are no action."""
    given = raw.get("fallback")
    if not isinstance(given, dict):
        return None, None
    here = (*path, "fallback")
    kinds = ("value", "last_good", *CONFIGS)
    if not _known(shape, given, here, "fallback", (*kinds, "on")):
        return None
    kind = _one(document, given, kinds, here, "Write `fallback: {value: …}` or `fallback: {http: {…}}`.", "A fallback")
    if kind is None:
        return None
    if kind == "last_good" and given[kind] is not True:
        document.report("bad-value", (*here, kind), "`last_good` is true, or not there.", "Write `last_good: true`.")
        return None
    if kind in WAITING:
        said = f"A fallback gives an output in place of the step's, at once; a {kind} does not."
        hint = f"Put a step with `{kind}` after this one, with `when: failure`."
        document.report("fallback-waits", (*here, kind), said, hint, key=True)
        return None
    return (None, None) if kind in ("value", "last_good") else _action(shape, kind, given[kind], here)


def read_already_done(document: Reporter, shape: Shape, path: Path, raw: dict[str, Json]) -> Found | None:
    """The action that asks; `if` and `output` stay in the step's model."""
    given = raw.get("already_done")
    if not isinstance(given, dict):
        return None, None
    here = (*path, "already_done")
    asking = tuple(name for name in CONFIGS if name not in WAITING)
    if not _known(shape, given, here, "already_done", (*asking, "if", "output")):
        return None
    hint = "Write `already_done: {http: {path: …}, if: '${{ check.output.status == 200 }}'}`."
    kind = _one(document, given, asking, here, hint, "`already_done`")
    if kind is None:
        return None
    if "if" not in given:
        document.report("missing-key", here, "The key `if` is missing: what says that it happened?", hint)
        return None
    if not isinstance(given["if"], str):  # true would believe everything, and a null or a list nothing
        said = "`if` is an expression over `check.output`."
        document.report("expression-required", (*here, "if"), said, "Write `if: '${{ check.output.status == 200 }}'`.")
        return None
    return _action(shape, kind, given[kind], here)


def _known(shape: Shape, given: dict[str, Json], here: Path, place: str, names: Sequence[str]) -> bool:
    wrong = next((key for key in given if key not in names), None)
    if wrong is not None:
        shape.unknown_key((*here, wrong), wrong, place, names)
    return wrong is None


def _one(
    document: Reporter, given: dict[str, Json], kinds: Sequence[str], here: Path, hint: str, what: str
) -> str | None:
    found = [key for key in given if key in kinds]
    if len(found) == 1:
        return found[0]
    document.report("bad-value", here, f"{what} is exactly one thing.", hint)
    return None


def _action(shape: Shape, kind: str, raw: Json, here: Path) -> Found | None:
    config = read_config(shape, kind, raw, (*here, kind))
    return None if config is None else (kind, config)
