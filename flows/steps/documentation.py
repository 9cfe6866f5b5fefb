"""docs/steps.md, written from the families themselves: what is documented is what is validated. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.steps.base import ERROR_CLASSES, Family

HEAD = """# Step families

Written by `manage.py document_steps --write`; a change here is a change of a family's config.

Every step has exactly one of these keys. A text may hold `${{ … }}` where the table does not say otherwise.
"""


def document(families: Iterable[Family]) -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *(_section(member) for member in families), _errors()]) + "\n"


def _section(member: Family) -> str:
    effect = "Acts outside the run" if member.has_effect else "Changes nothing outside the run"
    return "\n".join(
        [
            f"## {member.name}: {member.title}\n",
            f"{member.summary}\n",
            f"{effect}. {_repeats(member)}\n",
            "| Key | Default | Meaning |",
            "|---|---|---|",
            *(_row(path, field) for path, field in _fields(member.Config)),
            "",
        ]
    )


def _repeats(member: Family) -> str:
    if member.honours_key:
        return "A repeated attempt has one effect."
    if not member.has_effect:
        return "A lost attempt may be repeated."
    return "A lost attempt is repeated only where the other side honours the idempotency key, or nothing is changed."


def _fields(config: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key with its dotted path, those of inner objects after it."""
    for name, field in config.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path, field
        for inner in _models(field.annotation):
            yield from _fields(inner, f"{path}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _row(path: str, field: FieldInfo) -> str:
    return f"| `{path}` | {_default(field)} | {(field.description or '').replace('|', '/')} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ({}, [], ""):
        return ""
    return f"`{json.dumps(value)}`"


def _errors() -> str:
    rows = [f"| `{name}` | {'yes' if retry else 'no'} |" for name, retry in ERROR_CLASSES.items()]
    head = [
        "## Error classes\n",
        "What `retry.on`, `retry.give_up_on`, `fallback.on` and `when: {failure_of: …}` may name.\n",
    ]
    return "\n".join([*head, "| Class | Retried by default |", "|---|---|", *rows])
