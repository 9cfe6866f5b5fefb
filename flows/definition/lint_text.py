"""Lint of single values: secrets in the text, schemas, timeouts and retries, names that must exist."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from flows.definition import waiting
from flows.definition.bindings import places_in
from flows.definition.inputs import schema_problems, validate_input
from flows.definition.lint_graph import did_you_mean
from flows.definition.models_webhook import WebhookTrigger
from flows.definition.problems import Problem
from flows.definition.reader import Document, StepDoc
from flows.definition.resource_inputs import misplaced
from flows.definition.template import expressions_in, has_expression
from flows.definition.yaml_source import Path
from flows.steps.db.sql import is_bounded

Json = Any


class Names(Protocol):
    """What exists; None: not checked."""

    @property
    def secrets(self) -> frozenset[str] | set[str] | None: ...
    @property
    def groups(self) -> frozenset[str] | set[str] | None: ...
    @property
    def users(self) -> frozenset[str] | set[str] | None: ...
    @property
    def variables(self) -> frozenset[str] | set[str] | None: ...
    @property
    def flows(self) -> frozenset[str] | set[str] | None: ...


_KNOWN_SECRETS = re.compile(
    r"""gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,}
    | \bsk-[A-Za-z0-9_-]{16,} | \bsk_(?:live|test)_[A-Za-z0-9]{16,} | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | xox[abeoprs]-[A-Za-z0-9-]{10,} | \bAIza[A-Za-z0-9_-]{30,} | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,} | (?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*
    | ://[^\s/:@${}]{1,100}:[^\s/:@${}]{3,100}@""",
    re.VERBOSE,
)
_RANDOM = re.compile(r"[A-Za-z0-9+_=-]{32,200}")
#: how the base64 of every P-256 and Ed25519 public key begins
_PUBLIC_KEY = re.compile(r"\b(?:MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE|MCowBQYDK2VwAyEA)[A-Za-z0-9+/=]{40,100}\W?\s*$")
MEND_LEAK = "Keep it as a secret or in a connection, and revoke this one: drafts keep every revision."


def check_secrets(document: Document, text: str) -> None:
    """Report what looks like a credential; works on text that is not YAML too."""
    public = False  # inside the PEM text of a public key
    for number, line in enumerate(text[: 1 << 18].splitlines(), 1):
        public = (public or "-----BEGIN PUBLIC KEY-----" in line) and "-----END" not in line
        if public or _PUBLIC_KEY.search(line[:4000]):
            continue
        known = list(_KNOWN_SECRETS.finditer(line[:4000]))
        for match in known:
            _secret(document, number, match, "error", "A secret seems to be written here.")
        for match in () if known else _RANDOM.finditer(line[:4000]):
            if _looks_random(match.group()):
                _secret(document, number, match, "warning", "This looks like a secret: it is long and random.")


def _secret(document: Document, line: int, match: re.Match[str], severity: Any, message: str) -> None:
    where = (line, match.start() + 1, message, MEND_LEAK, line, match.end() + 1)
    document.problems.append(Problem("secret-in-text", severity, *where))


def looks_secret(text: str) -> bool:
    """Is there something in the text that looks like a credential?"""
    return bool(_KNOWN_SECRETS.search(text[:4000])) or any(
        _looks_random(m.group()) for m in _RANDOM.finditer(text[:4000])
    )


def _looks_random(text: str) -> bool:
    kinds = (str.isdigit, str.islower, str.isupper)
    if not all(any(kind(c) for c in text) for kind in kinds):
        return False
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) > 4.2


def check(document: Document) -> None:
    if check_schema(document, document.input_schema, ("input",)):
        _check_input_type(document, document.input_schema)
    _check_defaults(document)
    _check_vars(document)
    for doc in document.steps:
        _check_limits(document, doc)
        if doc.family == "approval":
            _check_form(document, doc)
        _check_schemas(document, doc)


def check_schema(document: Document, schema: Json, path: Path) -> bool:
    before = len(document.problems)
    for where, rule, message in schema_problems(schema):
        hint = (
            "Mend the pattern." if rule == "invalid-regex" else "Write a JSON Schema (2020-12) without outside `$ref`."
        )
        document.report(rule, (*path, *where), f"The schema is not valid: {message}.", hint)
    for where, _ in expressions_in(schema, path):
        document.report("template-not-allowed", where, "A schema has no expressions.", "Write a plain value.")
    for where, said in misplaced(schema, allowed=path == ("input",)):
        document.report("invalid-schema", (*path, *where), f"The schema is not valid: {said}.", "Mend or remove it.")
    return len(document.problems) == before


def _check_schemas(document: Document, doc: StepDoc) -> None:
    """Of the step's output, and of the body a callback must have."""
    if doc.model.output is not None:
        check_schema(document, doc.model.output, (*doc.path, "output"))
    for path, kind, tree in _answers(doc):
        if isinstance(tree.get("schema"), dict):
            check_schema(document, tree["schema"], (*path, kind, "schema"))


def _answers(doc: StepDoc) -> Iterator[tuple[Path, str, dict[str, Json]]]:
    """(path, kind, config) of the callbacks and events that a wait waits for."""
    for path, _, tree in waiting.parts(doc.config) if doc.family == waiting.FAMILY else ():
        for kind in ("callback", "event"):
            if isinstance(tree.get(kind), dict):
                yield (*doc.path, doc.family, *path), kind, tree[kind]


#: families that reach the outside through a connection
_CONNECTED = frozenset({"http", "db", "ssh", "notify"})


def _check_input_type(document: Document, schema: dict[str, Json]) -> None:
    if schema and schema.get("type", "object") != "object":
        said = "The input of a flow is an object."
        document.report("bad-value", ("input", "type"), said, "Write `type: object` with `properties`.")


def _check_vars(document: Document) -> None:
    """Each schema is one, and a default fits it."""
    for name, schema in (document.flow.vars if document.flow else {}).items():
        if check_schema(document, schema, ("vars", name)) and "default" in schema:
            for problem in validate_input(schema, schema["default"])[:1]:
                said = f"The default of `{name}` does not fit its own schema: {problem['message']}."
                document.report("bad-value", ("vars", name, "default"), said, "Give a default that fits.")


def _check_defaults(document: Document) -> None:
    retry = document.flow.defaults.retry if document.flow else None
    if retry is not None:
        _check_retry(document, retry.max_attempts, retry.window, ("defaults", "retry"))


def _check_limits(document: Document, doc: StepDoc) -> None:
    defaults = document.flow.defaults if document.flow else None
    reaches = doc.family in _CONNECTED and (doc.family != "notify" or any(name for _, name in places_in(doc.config)))
    if reaches and doc.model.timeout is None and not (defaults and defaults.timeout):
        said = f"The step `{doc.id}` has no timeout; 30 seconds are used."
        hint = "Add `timeout: 30s` here or under `defaults`."
        document.report("missing-timeout", (*doc.path, "id"), said, hint, severity="warning")
    for kind in ("callback", "event") if doc.family == waiting.FAMILY else ():
        if isinstance(doc.config.get(kind), dict) and "timeout" not in doc.config[kind]:
            said = f"The wait `{doc.id}` has no timeout; one day is used."
            hint = f"Write `{kind}: {{timeout: 1h}}`."
            document.report("missing-timeout", (*doc.path, "wait", kind), said, hint, severity="warning")
    if doc.family == "db":
        _check_rows(document, doc)
    if doc.model.retry is not None:
        _check_retry(document, doc.model.retry.max_attempts, doc.model.retry.window, (*doc.path, "retry"))


def _check_rows(document: Document, doc: StepDoc) -> None:
    query = doc.config.get("query")
    if isinstance(query, str) and not {"max_rows", "rest"} & doc.config.keys() and not is_bounded(query):
        said = f"Nothing bounds the rows of `{doc.id}`; above 1,000 the rest is left out."
        hint = "Write LIMIT in the query, or `max_rows`, or `rest: resource` to keep them all."
        document.report("unbounded-output", (*doc.path, "db", "query"), said, hint, severity="warning", key=True)


def _check_retry(document: Document, attempts: int, window: float | None, path: Path) -> None:
    if attempts > 10 and window is None:
        said = f"{attempts} attempts with no bound in time can go on for hours."
        document.report("missing-retry-cap", path, said, "Add `window: 10m`.", severity="warning")


_FORM_TYPES = {"string", "integer", "number", "boolean"}


def _check_form(document: Document, doc: StepDoc) -> None:
    form = doc.config.get("form")
    if not isinstance(form, dict):
        return
    path = (*doc.path, "approval", "form")
    if not check_schema(document, form, path):
        return
    hint = "Write `type: object` and `properties`, each a string, integer, number, boolean or enum."
    if form.get("type") != "object" or not isinstance(form.get("properties"), dict):
        document.report("bad-value", path, "A form is an object with properties.", hint)
        return
    for name, field in form["properties"].items():
        if not isinstance(field, dict) or not ("enum" in field or "const" in field or field.get("type") in _FORM_TYPES):
            said = f"The form is flat, so `{name}` must be a simple value."
            document.report("bad-value", (*path, "properties", name), said, hint)


def check_names(document: Document, known: Names) -> None:
    """Report secrets, groups and users that do not exist."""
    for kind, names, path, name in _named(document, known):
        if names is not None and isinstance(name, str) and not has_expression(name) and name not in names:
            said = f"There is no {kind} `{name}`."
            document.report(f"unknown-{kind}", path, said, did_you_mean(name, names))


def check_variables(document: Document, known: Names) -> None:
    """Warn of variables that no start could give a value."""
    for name, schema in (document.flow.vars if document.flow else {}).items():
        if known.variables is not None and "default" not in schema and name not in known.variables:
            said = f"No value is set for the variable `{name}`, so a start is refused."
            document.report(
                "unset-variable", ("vars", name), said, "Set one, or write a `default`.", severity="warning"
            )


def _named(document: Document, known: Names) -> Iterator[tuple[str, frozenset[str] | set[str] | None, Path, Json]]:
    for doc in document.steps:
        if doc.family == "call":
            yield "flow", _and_itself(document, known.flows), (*doc.path, "call", "flow"), doc.config.get("flow")
        if doc.family == "approval":
            yield from _reviewers(doc, known)
        for path, kind, tree in _answers(doc):
            yield "secret", known.secrets, (*path, kind, "secret"), tree.get("secret")
    for trigger in document.triggers:
        if isinstance(trigger.model, WebhookTrigger):
            path = ("triggers", trigger.index, "webhook", "secret")
            yield "secret", known.secrets, path, trigger.model.secret


def _and_itself(document: Document, flows: frozenset[str] | set[str] | None) -> frozenset[str] | None:
    """A flow may call itself before it was ever released."""
    return None if flows is None else frozenset(flows | ({document.flow.flow} if document.flow else set()))


def _reviewers(doc: StepDoc, known: Names) -> Iterator[tuple[str, frozenset[str] | set[str] | None, Path, Json]]:
    reviewers = doc.config.get("reviewers") or {}
    for key, kind, names in (("groups", "group", known.groups), ("users", "user", known.users)):
        for index, name in enumerate(reviewers.get(key) or ()):
            yield kind, names, (*doc.path, "approval", "reviewers", key, index), name
