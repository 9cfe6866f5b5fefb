"""The few facts of a draft's text that must hold even while the rest of it does not compile. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flows.definition import yaml_source
from flows.definition.problems import Problem
from resources.errors import BadInput

SLUG = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
FOLDER = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9 _./-]*)?", re.ASCII)  # as in the language's schema
MAX_FOLDER = MAX_TITLE = 200
MAX_BYTES = yaml_source.MAX_BYTES


@dataclass(frozen=True, slots=True)
class Headline:
    slug: str
    folder: str
    title: str


def read_headline(source: str) -> Headline:
    """Slug, folder and title as written. Raises BadInput (422) with `details.problems`."""
    parsed = yaml_source.parse(source)
    if parsed.problems:
        raise invalid("The text is not YAML that a flow can be written in.", parsed.problems)
    data = parsed.data if isinstance(parsed.data, dict) else {}
    slug, folder = data.get("flow"), data.get("folder") or ""
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        raise _wrong(parsed, "flow", "A flow needs a slug: small letters, digits and dashes, first a letter.")
    if not isinstance(folder, str) or len(folder) > MAX_FOLDER or not FOLDER.fullmatch(folder):
        raise _wrong(parsed, "folder", "A folder is written like `payments` or `payments/eu`.")
    title: Any = data.get("title")
    return Headline(slug, folder, title[:MAX_TITLE] if isinstance(title, str) else slug)


def invalid(message: str, problems: list[Problem], *, code: str = "invalid_flow") -> BadInput:
    """The refusal of a text, with what lint said."""
    first = next((p for p in problems if p.severity == "error"), problems[0])
    return BadInput(
        message,
        code=code,
        hint=f"Line {first.line}: {first.message}",
        details={"problems": [p.to_json() for p in problems]},
    )


def _wrong(parsed: yaml_source.Source, key: str, message: str) -> BadInput:
    mark = parsed.at((key,))
    rule = "missing-key" if (key,) not in parsed.keys else "bad-value"
    problem = Problem(rule, "error", mark.line, mark.column, message, f"Write `{key}: …` at the top of the file.")
    return invalid(message, [problem])
