"""Lint of http: headers that hold a credential in the text of the flow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.definition.reader import Document, StepDoc
from flows.definition.template import has_expression
from flows.definition.yaml_source import Path
from flows.steps.fields import Json

#: names of headers that say who is asking
_NAME = re.compile(
    r"""(?:^|[-_.])(?:authorization|cookie2?|auth|jwt|pass(?:word|wd|phrase)?|credentials?|session(?:[-_]?id)?|token
    |secret(?:[-_]?id)?|(?:api|access|auth|app|application|client|functions?|private|secret|subscription)?[-_]?key)$""",
    re.VERBOSE | re.IGNORECASE,
)
_HARMLESS = re.compile(r"no-?check|true|false|none|\d{0,3}", re.IGNORECASE)


def check(document: Document) -> None:
    for doc in document.steps:
        for path, config in configs_of(doc, "http"):
            _check_headers(document, path, config.get("headers"))


def configs_of(doc: StepDoc, family: str) -> Iterator[tuple[Path, dict[str, Json]]]:
    """(path, config) wherever the step does something of this family: itself, its fallback, its undoing."""
    if doc.family == family:
        yield (*doc.path, family), doc.config
    if doc.fallback_family == family and doc.fallback_config:
        yield (*doc.path, "fallback", family), doc.fallback_config
    if doc.undo is not None and doc.undo.family == family and doc.undo.config:
        yield (*doc.path, "compensate", family), doc.undo.config


def _check_headers(document: Document, path: Path, headers: Json) -> None:
    for name, value in headers.items() if isinstance(headers, dict) else ():
        literal = isinstance(value, str) and not has_expression(value) and not _HARMLESS.fullmatch(value.strip())
        if literal and _NAME.search(str(name)):
            said = f"The header {str(name)[:60]} holds a credential, which everybody who sees the flow reads."
            hint = "Keep it as a secret, name that in the `auth` of an http connection, and name the connection here."
            document.report("credential-in-header", (*path, "headers", name), said, hint)
