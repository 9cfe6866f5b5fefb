"""Lint of expressions: can each be read, do its types fit, and is what it reads there by then?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows.definition import expr, routing, waiting
from flows.definition.graph import ancestors, surely_ran
from flows.definition.lint_graph import did_you_mean, step_ids
from flows.definition.lint_inputs import known_types, missing_input, undeclared
from flows.definition.models_time import CALLING, Instead, UntilModel
from flows.definition.plan import StepPlan
from flows.definition.problems import Problem, Severity
from flows.definition.reader import Document, StepDoc
from flows.definition.yaml_source import Path

Json = Any

AT_START = frozenset({"input", "trigger", "run", "vars"})
IN_RUN = AT_START | {"steps"}
IN_ITEM = IN_RUN | {"item", "item_index"}
MAX_EXPRESSIONS = 2000  # of one flow
MAX_PROBLEMS = 200  # more of them help nobody, and cost time
STEP_FIELDS = ("output", "status", "error", "attempts", "stale", "age", "url")


@dataclass(frozen=True, slots=True)
class Site:
    """One place with expressions: the tree there, what it may read, and for whom it is evaluated."""

    path: Path
    tree: Json
    names: frozenset[str]
    step: StepDoc | None = None
    condition: bool = False
    own: bool = False  # may read the step itself: it has ended
    whole: bool = False  # must be exactly one expression, if it is a text


def sites(document: Document) -> Iterator[Site]:
    flow = document.flow
    if flow is not None:
        if flow.concurrency is not None:
            yield Site(("concurrency", "key"), flow.concurrency.key, AT_START)
        yield Site(("output",), flow.output, IN_RUN)
    for trigger in document.triggers:
        path: Path = ("triggers", trigger.index, trigger.kind)
        yield Site((*path, "if"), trigger.raw.get("if"), frozenset({"trigger"}), condition=True)
        yield Site((*path, "dedupe"), trigger.raw.get("dedupe"), frozenset({"trigger"}))
        yield Site((*path, "input"), trigger.raw.get("input"), frozenset({"trigger"}))
        respond = trigger.raw.get("respond") or {}
        yield Site((*path, "respond", "output"), respond.get("output"), frozenset({"trigger", "run"}))
    for doc in document.steps:
        yield from _step_sites(doc)


def _llm_sites(doc: StepDoc, inside: frozenset[str]) -> Iterator[Site]:
    """What a tool does is worked out when the model has said what to call it with."""
    tools = doc.config.get("tools")
    tools = tools if isinstance(tools, list) else []
    early = [{k: v for k, v in t.items() if k != "do"} if isinstance(t, dict) else t for t in tools]
    yield Site((*doc.path, "llm"), {**doc.config, "tools": early}, inside, doc)
    for index, tool in enumerate(tools):
        if isinstance(tool, dict):
            yield Site((*doc.path, "llm", "tools", index, "do"), tool.get("do"), frozenset({"args", "given"}))


def _step_sites(doc: StepDoc) -> Iterator[Site]:
    inside = IN_ITEM if doc.model.for_each is not None else IN_RUN
    yield Site((*doc.path, "if"), doc.model.if_, IN_RUN, doc, condition=True)
    if doc.model.for_each is not None:
        yield Site((*doc.path, "for_each", "items"), doc.model.for_each.items, IN_RUN, doc, whole=True)
    if doc.family == routing.FAMILY:
        yield from _route_sites(doc)
    elif doc.family == waiting.FAMILY:
        yield from _wait_sites(doc, inside)
    elif doc.family == "llm":
        yield from _llm_sites(doc, inside)
    else:
        yield Site((*doc.path, doc.family), doc.config, inside, doc)
    yield Site((*doc.path, "fallback"), doc.model.fallback, inside, doc)
    until = doc.model.until
    if isinstance(until, UntilModel):
        yield Site(
            (*doc.path, "until", "condition"), until.condition, inside, doc, condition=True, own=True, whole=True
        )
    else:
        yield Site((*doc.path, "until"), until, inside, doc, condition=True, own=True, whole=True)
    for key in CALLING:
        said = getattr(doc.model, key)
        if isinstance(said, Instead):
            yield Site((*doc.path, key, "value"), said.value, inside, doc, own=True)
    if doc.undo is not None:
        yield Site((*doc.path, "compensate", doc.undo.family), doc.undo.config, inside, doc, own=True)
    yield from _contract_sites(doc, inside)


def _wait_sites(doc: StepDoc, inside: frozenset[str]) -> Iterator[Site]:
    yield Site((*doc.path, doc.family), waiting.without_match(doc.config), inside, doc)
    for path, _, tree in waiting.parts(doc.config):
        event = tree.get("event")
        if isinstance(event, dict):
            where = (*doc.path, doc.family, *path, "event", "match")
            yield Site(where, event.get("match"), inside | {"event"}, doc, condition=True, whole=True)


def _route_sites(doc: StepDoc) -> Iterator[Site]:
    path: Path = (*doc.path, doc.family)
    yield Site((*path, "default"), doc.config.get("default"), IN_RUN, doc)
    for index, rule in enumerate(routing.branches(doc.config)[1:]):
        yield Site((*path, "rules", index, "if"), rule.get("if"), IN_RUN, doc, condition=True)
        yield Site((*path, "rules", index, "value"), rule.get("value"), IN_RUN, doc)


def _contract_sites(doc: StepDoc, inside: frozenset[str]) -> Iterator[Site]:
    model = doc.model
    if model.for_each is not None:
        yield Site((*doc.path, "for_each", "key"), model.for_each.key, IN_ITEM, doc, whole=True)
    for name, checks, own in (("requires", model.requires, False), ("ensures", model.ensures, True)):
        for index, check in enumerate(checks):
            path: Path = (*doc.path, name, index)
            text = check if isinstance(check, str) else check.if_
            path = path if isinstance(check, str) else (*path, "if")
            yield Site(path, text, inside, doc, condition=True, own=own)
    if model.already_done is not None:
        asked = {k: v for k, v in model.already_done.items() if k not in ("if", "output")}
        yield Site((*doc.path, "already_done"), asked, inside, doc)
        told = inside | {"check"}
        yield Site((*doc.path, "already_done", "if"), model.already_done.get("if"), told, doc, condition=True)
        yield Site((*doc.path, "already_done", "output"), model.already_done.get("output"), told, doc)


def check(document: Document, steps: tuple[StepPlan, ...], source: str) -> None:
    """Needs an acyclic graph with unique ids."""
    _Checker(document, steps, source).run()


class _Checker:
    def __init__(self, document: Document, steps: tuple[StepPlan, ...], source: str) -> None:
        self.document = document
        self.lines = source.splitlines()
        self.steps = {s.id: s for s in steps}
        self.names = set(step_ids(document))
        self.handlers = document.handlers  # they run at any time: they read what there is
        self.above = ancestors(document.needs())
        self.sure = surely_ran(self.steps)
        self.left = MAX_EXPRESSIONS
        self.schema: Mapping[str, Json] = document.input_schema
        self.vars: Mapping[str, Json] = document.flow.vars if document.flow else {}
        self.types = known_types(self.schema, steps, self.vars)

    def run(self) -> None:
        for site in sites(self.document):
            self._condition(site)
            for path, text in expr.expressions_in(site.tree, site.path):
                if self.left < 0 or len(self.document.problems) > MAX_PROBLEMS:
                    return
                self._text(site, path, text)

    def _condition(self, site: Site) -> None:
        if not (site.condition or site.whole) or not isinstance(site.tree, str):
            return
        try:
            used = [p for p in expr.parse_template(site.tree) if p.expression or p.text.strip()]
        except expr.TemplateError:
            return  # reported with the text
        if len(used) != 1 or not used[0].expression:
            said = "This must be exactly one expression, with nothing around it."
            hint = (
                f'Write "${{{{ {site.tree[:60]} }}}}".' if "${{" not in site.tree else "Move all of it inside ${{ }}."
            )
            self.document.report("expression-required", site.path, said, hint)

    def _text(self, site: Site, path: Path, text: str) -> None:
        try:
            parts = [p for p in expr.parse_template(text) if p.expression]
        except expr.TemplateError as error:
            self._report("expression-syntax", path, None, error.offset, str(error), "Close it with }}.")
            return
        self.left -= len(parts)
        if self.left < 0:
            said = f"A flow may have {MAX_EXPRESSIONS} expressions at most."
            self._report("expression-limit", path, None, 0, said, "Move work into function steps.")
            return
        for part in parts:
            findings = expr.check(part.text, self.types, want_bool=site.condition)
            for f in findings:
                self._report(f.rule, path, part, f.offset, f.message, f.hint)
            if not any(f.rule in ("expression-syntax", "expression-limit", "unknown-name") for f in findings):
                self._references(site, path, part)

    def _references(self, site: Site, path: Path, part: expr.Part) -> None:
        try:
            found = expr.references(part.text)
        except expr.ExprError:
            return  # a type error, reported by now
        aware = {r.path[1] for r in found if len(r.path) > 2 and r.path[2] == "status"}
        for reference in found:
            problem = self._reference(site, reference, aware)
            if problem:
                rule, message, hint = problem
                severity: Severity = "warning" if rule == "may-not-have-run" else "error"
                if rule == "unknown-input" and self.schema.get("additionalProperties") is not False:
                    severity = "warning"
                self._report(rule, path, part, reference.offset, message, hint, severity)

    def _reference(self, site: Site, reference: expr.Reference, aware: set[Any]) -> tuple[str, str, str] | None:
        root = str(reference.path[0])
        if root not in site.names:
            here = ", ".join(sorted(site.names))
            hint = f"Here an expression reads {here}."
            return "unknown-name", f"`{root}` cannot be read here.", hint
        if root == "vars":
            return undeclared(self.vars, reference)
        if root == "input" and not reference.guarded:
            return missing_input(self.schema, reference)
        return self._step_reference(site, reference, aware) if root == "steps" else None

    def _step_reference(self, site: Site, reference: expr.Reference, aware: set[Any]) -> tuple[str, str, str] | None:
        name = reference.path[1] if len(reference.path) > 1 else None
        if not isinstance(name, str):
            return ("not-upstream", "Which step this reads shows only when it runs.", "Name it: steps.build.output.")
        if name not in self.names:
            hint = did_you_mean(name, self.names)
            dashed = [n for n in self.names if n.startswith(f"{name}-")]
            hint = f"Write steps['{dashed[0]}']: a - between names is a minus." if dashed else hint
            return "unknown-step", f"There is no step `{name}`.", hint
        part = reference.path[2] if len(reference.path) > 2 else "output"
        if part not in STEP_FIELDS:
            return ("unknown-name", f"A step has no `{part}`.", f"A step has {', '.join(STEP_FIELDS)}.")
        if part == "url":
            return self._url(name)
        return self._order(site, reference, name, str(part), aware)

    def _url(self, name: str) -> tuple[str, str, str] | None:
        step = self.steps.get(name)
        if step is None or (step.family == waiting.FAMILY and waiting.callback_of(step.config)):
            return None
        return ("unknown-name", f"`{name}` has no url.", "Only a `wait: {callback: …}` step has one.")

    def _order(
        self, site: Site, reference: expr.Reference, name: str, part: str, aware: set[Any]
    ) -> tuple[str, str, str] | None:
        reader = site.step.id if site.step else None
        if reader is None or reader in self.handlers or name not in self.steps or (site.own and name == reader):
            return None  # the flow's output reads what there is
        if name not in self.above.get(reader, frozenset()):
            said = f"`{reader}` does not wait for `{name}`, so its {part} need not be there."
            return "not-upstream", said, f"Add `{name}` to the `needs` of `{reader}`."
        if part != "output" or reference.guarded or name in self.sure[reader] or name in aware:
            return None
        if site.step and f"steps.{name}." in str(site.step.model.if_) and not site.condition:
            return None  # the step's own `if` looks first
        said = f"`{name}` may have been skipped or may have failed; its output is then null."
        return ("may-not-have-run", said, f"Ask first: steps.{name}.status == 'succeeded', or read it with .?")

    def _report(
        self,
        rule: str,
        path: Path,
        part: expr.Part | None,
        offset: int | None,
        message: str,
        hint: str,
        severity: Severity = "error",
    ) -> None:
        line, column = self._place(path, part, offset or 0)
        self.document.problems.append(Problem(rule, severity, line, column, message, hint))

    def _place(self, path: Path, part: expr.Part | None, offset: int) -> tuple[int, int]:
        mark = self.document.source.at(path)
        if mark.content_column is not None:
            return mark.line, mark.content_column + (part.offset if part else 0) + offset
        if part is not None:  # a text on several lines: look for the expression itself
            lead = part.text[:offset].count("\n")
            first = part.text.splitlines()[0] if part.text else "${{"
            for number in range(mark.line, min(mark.end_line, len(self.lines)) + 1):
                at = self.lines[number - 1].find(first)
                if at >= 0:
                    return number + lead, at + 1 + (offset if not lead else 0)
        return mark.line, mark.column
