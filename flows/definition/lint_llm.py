"""Language models: what they cost is bounded, and their tools change nothing. Pure."""

from __future__ import annotations

from typing import Any

from flows.definition.lint_text import check_schema
from flows.definition.reader import Document
from flows.definition.yaml_source import Path
from flows.steps.configs import ConfigError, check_written

Json = Any
_SAFE = ("GET", "HEAD", "OPTIONS")


def check(document: Document) -> None:
    """Report tools with effects, broken schemas, and models without a budget."""
    for doc in document.steps:
        if doc.family != "llm":
            continue
        path: Path = (*doc.path, "llm")
        if isinstance(doc.config.get("schema"), dict):
            check_schema(document, doc.config["schema"], (*path, "schema"))
        tools = doc.config.get("tools")
        for index, tool in enumerate(tools if isinstance(tools, list) else []):
            if isinstance(tool, dict):
                _check_tool(document, tool, (*path, "tools", index))
    if document.flow is not None and document.flow.budget is None and any(d.family == "llm" for d in document.steps):
        first = next(d for d in document.steps if d.family == "llm")
        said = "Nothing bounds what the language models of one run may cost."
        document.report(
            "missing-budget",
            (*first.path, "llm"),
            said,
            "Add `budget: {tokens: 100000}`.",
            severity="warning",
            key=True,
        )


def _check_tool(document: Document, tool: dict[str, Json], path: Path) -> None:
    if isinstance(tool.get("parameters"), dict):
        check_schema(document, tool["parameters"], (*path, "parameters"))
    do = tool.get("do")
    if not isinstance(do, dict) or len(do) != 1:
        return
    ((family, config),) = do.items()
    if not isinstance(config, dict):
        return
    try:
        check_written(family, config)
    except ConfigError as error:
        document.report(
            "bad-value", (*path, "do", family, *error.path), f"{error.message}.".capitalize(), "Mend the tool."
        )
        return
    changing = _changing(family, config)
    if changing:
        said = f"The tool `{tool.get('name')}` would change something: {changing}."
        hint = "A model may only look. Let it propose, and change it in a step that people approve."
        document.report("tool-with-effect", (*path, "do", family), said, hint, key=True)


def _changing(family: str, config: dict[str, Json]) -> str:
    if family == "http" and config.get("method", "GET") not in _SAFE:
        return f"it sends a {config['method']}"
    if family == "kv" and not {"get", "list"} & set(config):
        return "it writes values"
    return "it writes to a database" if family == "db" and config.get("write") else ""
