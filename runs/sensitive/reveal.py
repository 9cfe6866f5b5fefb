"""Showing one sensitive value to somebody who may see it and says why. Audited first, without the value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db import transaction

from flows.definition.sensitive import Place, places
from resources import artifacts, audit
from resources.access import Actor, can, require
from resources.errors import BadInput, NotFound, TooLarge
from resources.fields import dumps
from resources.models import Role
from runs.models import NO_ITEM, Run, StepRun
from runs.sensitive.rows import of_run
from runs.sensitive.veil import Veil

Json = Any
MAX_REASON: Final = 1000
MAX_FIELD: Final = 500
#: characters of a value as JSON
MAX_VALUE: Final = 1024 * 1024
#: fields that are offered
OFFERED: Final = 100
_PART: Final = re.compile(r'\.?([A-Za-z_$][\w$-]*~?)|\[(\d{1,6})\]|\["((?:[^"\\]|\\.)*)"\]')
_ROOTS: Final = ("input", "vars", "output", "error", "steps")


def reveal_field(*, actor: Actor, run_id: str, field: str, reason: str) -> Json:
    """The true value of a field such as `input.card`, `vars.key` or `steps.look[3].output.salary`.

    Raises NotFound (the run, the field), NotAllowed, BadInput `bad_field`, `reason_missing`, `not_sensitive`, TooLarge.
    """
    run = _find(actor, run_id)
    require(actor, Role.REVEALER, run.flow.folder)
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise BadInput(f"Say why, in at most {MAX_REASON} characters.", code="reason_missing")
    path, veil = parse(field), of_run(run)
    with transaction.atomic():
        value = _value(run, veil, path)
        data = {"field": field, "flow": run.flow.slug, "reason": veil.text(reason)}
        audit.record(actor=actor, action="run.revealed", object_type="run", object_id=run.pk, data=data)
    return value


def _find(actor: Actor, run_id: str) -> Run:
    rows = Run.objects.select_related("flow", "release").defer("release__source", "release__plan_json")
    run = rows.filter(pk=run_id[:26]).first() if "\0" not in run_id else None
    if run is None or run.pk != run_id or not can(actor, Role.VIEWER, run.flow.folder):
        raise NotFound("There is no such run, or you may not see it.", code="run_not_found")
    return run


def parse(field: str) -> list[str | int]:
    """`a.b[3]["c.d"]` in parts. Raises BadInput `bad_field`."""
    found: list[str | int] = []
    at = 0
    while at < len(field) <= MAX_FIELD and (part := _PART.match(field, at)):
        name, number, quoted = part.groups()
        found.append(int(number) if number else name or re.sub(r"\\(.)", r"\1", quoted or ""))
        at = part.end()
    if at != len(field) or not found or found[0] not in _ROOTS or field.startswith("."):
        raise BadInput(
            "Name a field of the run, such as input.card or steps.look.output.salary.",
            code="bad_field", hint='Parts with other characters are written ["a.b"]; items of a fan-out step[3].',
        )  # fmt: skip
    return found


def written(place: Place) -> str:
    """What `parse` reads: the way to a place."""
    return "".join(_part(part, first=number == 0) for number, part in enumerate(place))


def _part(part: str | int, *, first: bool) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if re.fullmatch(r"[A-Za-z_$][\w$-]*~?", part):
        return part if first else f".{part}"
    return '["' + part.replace("\\", "\\\\").replace('"', '\\"') + '"]'


# -- the value -----------------------------------------------------------------------------------------------------
def _value(run: Run, veil: Veil, path: list[str | int]) -> Json:
    true, shown, rest = _root(run, veil, path)
    for part in rest:
        true = _member(true, part)
        shown = _member(shown, part) if isinstance(shown, Mapping | list) else shown
    if true == shown:
        raise BadInput("Nothing of this field is hidden.", code="not_sensitive", hint="It is on the run's page.")
    if len(dumps(true)) > MAX_VALUE:
        raise TooLarge("The value is too large to be shown.", hint="Name a part of it.")
    return true


def _root(run: Run, veil: Veil, path: list[str | int]) -> tuple[Json, Json, list[str | int]]:
    """(true, shown, the rest of the way)."""
    first, *rest = path
    if first == "steps":
        return _of_step(run, veil, rest)
    if first == "vars":
        kept = {"vars": (run.trigger or {}).get("vars") or {}}
        return kept["vars"], veil.trigger(kept)["vars"], rest
    true = {"input": run.input, "output": run.output, "error": run.error}[str(first)]
    return true, veil.input(true) if first == "input" else veil.tree(true), rest


def _of_step(run: Run, veil: Veil, path: list[str | int]) -> tuple[Json, Json, list[str | int]]:
    step, item = (str(path[0]) if path else ""), NO_ITEM
    rest = path[1:]
    if rest and isinstance(rest[0], int):
        item, rest = rest[0], rest[1:]
    what = rest[0] if rest else ""
    row = StepRun.objects.filter(run=run, step=step, item=item).first()
    if row is None or what not in ("output", "error"):
        raise _none(f"{step}.{what}")
    true = row.output if what == "output" else (row.state or {}).get("error")
    if isinstance(true, Mapping) and isinstance(true.get("$res"), str):
        true = artifacts.load(artifacts.get(true["$res"]))
    return true, veil.output(step, true, item) if what == "output" else veil.error(step, true), rest[1:]


def _member(value: Json, part: str | int) -> Json:
    if isinstance(value, Mapping) and str(part) in value:
        return value[str(part)]
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    raise _none(str(part))


def _none(part: str) -> NotFound:
    return NotFound(f"The run has no {part[:80]} there.", code="field_not_found", hint="Look at the run's page.")


# -- what is offered -----------------------------------------------------------------------------------------------
def fields_of(run: Run, veil: Veil) -> list[str]:
    """What may be asked for, as far as schemas mark it; the first OFFERED."""
    return [written(place) for place, _ in zip(_marked(run, veil), range(OFFERED), strict=False)]


def _marked(run: Run, veil: Veil) -> Iterator[Place]:
    shapes = veil.shapes
    yield from (("input", *place) for place in places(shapes.input, run.input))
    yield from (("vars", *place) for place in places(shapes.vars, (run.trigger or {}).get("vars")))
    if not shapes.outputs:
        return
    rows = StepRun.objects.filter(run=run, step__in=list(shapes.outputs), item=NO_ITEM).order_by("pk")
    for row in rows.only("run_id", "step", "item", "output"):
        step, output = row.step, row.output
        if isinstance(output, Mapping) and "$res" in output:
            yield ("steps", step, "output")
            continue
        several = step in shapes.lists and isinstance(output, list)
        schema = {"items": shapes.outputs[step]} if several else shapes.outputs[step]
        yield from (("steps", step, "output", *place) for place in places(schema, output))
