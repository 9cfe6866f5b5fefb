"""The connections that a flow names: there, in test and in live runs, and of a kind that the step takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flows.definition.bindings import Bindings, Place, places_in, stands_for
from flows.definition.lint_graph import did_you_mean
from flows.definition.problems import Severity
from flows.definition.reader import Document, StepDoc
from flows.definition.template import has_expression
from flows.definition.yaml_source import Path

Json = Any


class Names(Protocol):
    """What exists. `connections`: name -> kind, None: not checked. `kinds`: family -> kinds it takes."""

    @property
    def connections(self) -> Mapping[str, str] | None: ...
    @property
    def bindings(self) -> Bindings: ...
    @property
    def kinds(self) -> Mapping[str, Sequence[str]]: ...


@dataclass(frozen=True, slots=True)
class _Named:
    path: Path
    family: str
    name: str


def check(document: Document, known: Names) -> None:
    """Report names that stand for no connection, or for one of a kind that the step cannot use."""
    if known.connections is None:
        return
    slug = document.flow.flow if document.flow is not None else ""
    for named in _named(document):
        live = stands_for(named.name, Place(slug), known.bindings)
        test = stands_for(named.name, Place(slug, test=True), known.bindings)
        _check_there(document, named, {"live": live, "test": test}, known.connections)
        for real in sorted({live, test} & known.connections.keys()):
            _check_kind(document, named, real, known)


def _check_there(document: Document, named: _Named, sides: Mapping[str, str], there: Mapping[str, str]) -> None:
    missing = [side for side, real in sides.items() if real not in there]
    if set(sides.values()) == {named.name} and missing:
        said, hint = f"There is no connection `{named.name}`.", did_you_mean(named.name, there)
        document.report("unknown-connection", named.path, said, hint)
        return
    for side in missing:
        said = f"In {side} runs `{named.name}` stands for `{sides[side]}`, and there is no such connection."
        hint = "Add it under Connections, or change the binding."
        severity: Severity = (
            "error" if len(missing) == len(sides) else "warning"
        )  # one side alone may be all that is wanted
        document.report("unknown-connection", named.path, said, hint, severity=severity)


def _check_kind(document: Document, named: _Named, real: str, known: Names) -> None:
    wanted, kind = known.kinds.get(named.family, ()), (known.connections or {})[real]
    if wanted and kind not in wanted:
        through = f", which `{named.name}` stands for," if real != named.name else ""
        said = f"The connection `{real}`{through} is of the kind {kind}; this step takes {' or '.join(wanted)}."
        document.report("wrong-connection-kind", named.path, said, "Name another connection, or bind the name to one.")


def _named(document: Document) -> Iterator[_Named]:
    """Every connection that stands there as a plain name."""
    for doc in document.steps:
        for path, family, config in _configs(doc):
            for inside, name in places_in(config):
                if isinstance(name, str) and name and not has_expression(name):
                    yield _Named((*path, family, *inside), family, name)


def _configs(doc: StepDoc) -> Iterator[tuple[Path, str, Json]]:
    """(path above the family's key, family, its config) of a step and of what stands in it."""
    yield doc.path, doc.family, doc.config
    if doc.fallback_family:
        yield (*doc.path, "fallback"), doc.fallback_family, doc.fallback_config
    if doc.done_family:
        yield (*doc.path, "already_done"), doc.done_family, doc.done_config
    if doc.undo is not None:
        yield (*doc.path, "compensate"), doc.undo.family, doc.undo.config
    tools = doc.config.get("tools") if doc.family == "llm" else None
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        do = tool.get("do") if isinstance(tool, dict) else None
        for family, config in do.items() if isinstance(do, dict) else ():
            yield (*doc.path, "llm", "tools", index, "do"), family, config
