"""Lint of ssh: what takes long without being detached, what may say without end, callbacks that nobody waits for."""

from __future__ import annotations

from flows.definition.lint_graph import did_you_mean, step_ids
from flows.definition.lint_http import configs_of
from flows.definition.plan import StepPlan
from flows.definition.reader import Document
from flows.definition.yaml_source import Path
from flows.steps.fields import Json

LONG = 600.0  # seconds that a worker may stay with a command before it should be detached


def check(document: Document, steps: tuple[StepPlan, ...]) -> None:
    """Needs unique ids."""
    for doc, step in zip(document.steps, steps, strict=True):
        for path, config in configs_of(doc, "ssh"):
            _check_long(document, path, config, step)
            _check_bound(document, path, config)
            _check_callback(document, path, config)


def _check_long(document: Document, path: Path, config: dict[str, Json], step: StepPlan) -> None:
    if "command" in config and not config.get("detached") and step.timeout > LONG:
        said = f"A worker stays with this command for up to {step.timeout:g} s, and it ends when their connection does."
        hint = "Write `detached: true` with `callback`, or collect it with `follow: true`."
        document.report("ssh-long", (*path, "command"), said, hint, severity="warning", key=True)


def _check_bound(document: Document, path: Path, config: dict[str, Json]) -> None:
    for name in ("stdout", "stderr"):
        if config.get(name) == "resource" and "max_output" not in config:
            said = f"The command may fill the store with its {name}."
            document.report("output-unbounded", (*path, name), said, "Add `max_output: 100MiB`.", severity="warning")


def _check_callback(document: Document, path: Path, config: dict[str, Json]) -> None:
    name = config.get("callback")
    if name is None:
        return
    found = next((doc for doc in document.steps if doc.id == name), None)
    if found is None:
        hint = did_you_mean(name, set(step_ids(document)))
        document.report("unknown-step", (*path, "callback"), f"There is no step `{name}`.", hint)
    elif found.family != "wait" or "callback" not in found.config:
        said = f"The step `{name}` waits for no callback."
        document.report("bad-value", (*path, "callback"), said, "Name a step with `wait: {callback: {…}}`.")
