"""Rows -> veils. Runs whose plans mark nothing, and that belong with no others, cost no query."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from flows.definition.sensitive import texts
from flows.steps.call.config import MAX_DEPTH
from resources import artifacts
from resources.errors import OrchestraError
from resources.models import Artifact
from resources.veiling import Clear, Content, Shade
from runs.models import NO_ITEM, Run, StepRun
from runs.sensitive.shapes import Shapes, of_release
from runs.sensitive.veil import NOTHING, Veil

Json = Any
#: runs of one tree whose values are looked for in each other, and outputs that are read for that
MOST_RUNS: Final = 500
MOST_OUTPUTS: Final = 20_000
#: bytes of an output kept as a resource that is read for its values
MOST_KEPT: Final = 1024 * 1024


class Unknown(Exception):
    """What is sensitive cannot be told: too much, or no longer there. Then nothing that could be it is shown."""


@dataclass(slots=True)
class _Member:
    """A run of a tree."""

    id: str
    parent: str | None
    shapes: Shapes
    values: list[str] | None = field(default_factory=list)


def of_run(run: Run) -> Veil:
    return of_runs([run])[run.pk]


def of_id(run_id: str) -> Veil:
    run = Run.objects.select_related("release").defer("release__source", "release__plan_json").filter(pk=run_id).first()
    return NOTHING if run is None else of_run(run)


def of_runs(runs: Sequence[Run]) -> dict[str, Veil]:
    """By id. Reads `release` of each."""
    members = {run.pk: _Member(run.pk, run.parent_id, _shapes(run.release_id, run.release.checksum)) for run in runs}
    asked = list(members)
    _climb(members)
    _descend(members)
    _read([m for m in members.values() if m.shapes.marked])
    trees: dict[str, list[_Member]] = {}
    for member in members.values():
        trees.setdefault(_root(members, member), []).append(member)
    return {pk: _veil(members[pk], trees[_root(members, members[pk])]) for pk in asked}


def _veil(member: _Member, tree: Iterable[_Member]) -> Veil:
    values: list[str] = []
    for other in tree:
        if other.values is None:
            return Veil(member.shapes, None)
        values += other.values
    return Veil(member.shapes, values) if values or member.shapes.marked else NOTHING


def _shapes(release_id: int, checksum: str) -> Shapes:
    return of_release(release_id, checksum)


# -- the tree of runs that a run belongs to ------------------------------------------------------------------------
def _climb(members: dict[str, _Member]) -> None:
    for _ in range(MAX_DEPTH + 1):
        wanted = {m.parent for m in members.values() if m.parent and m.parent not in members}
        if not wanted:
            return
        _add(members, Run.objects.filter(pk__in=wanted))


def _descend(members: dict[str, _Member]) -> None:
    level = [m.id for m in members.values() if m.shapes.calls]
    while level and len(members) < MOST_RUNS:
        level = [m.id for m in _add(members, Run.objects.filter(parent__in=level).order_by("pk")) if m.shapes.calls]


def _add(members: dict[str, _Member], rows: Any) -> list[_Member]:
    """Those that were not there yet."""
    found = [
        _Member(pk, parent, _shapes(release, checksum))
        for pk, parent, release, checksum in rows.values_list("pk", "parent_id", "release_id", "release__checksum")[
            :MOST_RUNS
        ]
        if pk not in members
    ]
    members |= {member.id: member for member in found}
    return found


def _root(members: Mapping[str, _Member], member: _Member) -> str:
    for _ in range(MAX_DEPTH + 1):
        above = members.get(member.parent or "")
        if above is None:
            break
        member = above
    return member.id


# -- values --------------------------------------------------------------------------------------------------------
def _read(members: Sequence[_Member]) -> None:
    if not members:
        return
    by_id = {m.id: m for m in members}
    for run in Run.objects.filter(pk__in=by_id).only("pk", "input", "trigger"):
        shapes, values = by_id[run.pk].shapes, by_id[run.pk].values
        assert values is not None  # noqa: S101  for mypy
        values += texts(shapes.input, run.input)
        values += texts(shapes.vars, (run.trigger or {}).get("vars"))
    steps = {step for m in members for step in m.shapes.outputs}
    if steps:
        _read_outputs(by_id, steps)


def _read_outputs(by_id: Mapping[str, _Member], steps: Iterable[str]) -> None:
    rows = StepRun.objects.filter(run__in=list(by_id), step__in=steps).order_by("pk")
    kept = rows.only("run_id", "step", "item", "output")[: MOST_OUTPUTS + 1]
    found = [(row.run_id, row.step, row.item, row.output) for row in kept]
    for run_id, step, item, output in found:
        member = by_id[run_id]
        if step not in member.shapes.outputs or member.values is None:
            continue
        try:
            member.values += _of_output(member.shapes, step, item, output)
        except Unknown:
            member.values = None
    if len(found) > MOST_OUTPUTS:
        for member in by_id.values():
            member.values = None


def _of_output(shapes: Shapes, step: str, item: int, output: Json) -> Iterator[str]:
    if isinstance(output, Mapping) and isinstance(output.get("$res"), str):
        output = _kept(output["$res"])
    schema = shapes.outputs[step]
    several = item == NO_ITEM and step in shapes.lists and isinstance(output, list)
    for one in output if several else [output]:
        yield from texts(schema, one)


@lru_cache(maxsize=16)
def _kept(address: str) -> Json:
    """An output that is a resource. Raises Unknown."""
    try:
        row = artifacts.get(address)
        if row.size > MOST_KEPT:
            raise Unknown
        return artifacts.load(row)
    except (OrchestraError, OSError, ValueError) as error:
        raise Unknown from error


# -- for what the lower layers keep of a run -----------------------------------------------------------------------
def shade_of(run_id: str) -> Shade:
    """See resources.veiling."""
    veil = of_id(run_id)
    return Clear() if veil.empty else veil


def content_of(row: Artifact) -> Content | None:
    """A resource of a run that has something sensitive. JSON is masked like an output of its step; of a step that marks
    its output, nothing else is given away. What other steps made on purpose is theirs to say: it stays as it is."""
    veil = of_id(row.run_id)
    if veil.empty or not (veil.withholds(row.step) or _is_output(row)):
        return None
    if row.content_type != "application/json":
        return Content(None)
    try:
        value = artifacts.load(row)
    except (OrchestraError, OSError, ValueError, RecursionError):
        return Content(None)
    return Content(json.dumps(veil.output(row.step, value), ensure_ascii=False).encode())


def _is_output(row: Artifact) -> bool:
    """Moved out of a run's state by itself (runs.large), not made by a step."""
    return row.name == "" and row.content_type == "application/json"
