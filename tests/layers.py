"""Reads the imports of a source tree and names every breach of the layers. Pure but for reading files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: lower number, lower layer; a layer imports only lower ones and itself
LAYERS = {"resources": 1, "flows": 2, "runs": 3, "approvals": 4, "orchestra": 5}
#: packages that are Django or come with it
DJANGO = frozenset({"django", "channels", "ninja", "csp", "environ", "daphne", "whitenoise", "django_htmx", "django_q"})
#: path prefix -> third-party and own packages it may import beside the standard library; None: any that is no Django
PURE: dict[str, frozenset[str] | None] = {
    "flows/definition/": None,
    "runs/engine/": frozenset({"flows.definition", "runs.engine"}),
    "orchestra/world/": frozenset({"orchestra.world"}),
    "orchestra/supervisor/": frozenset({"orchestra.supervisor", "orchestra.instance", "orchestra.gate"}),
}
#: package -> the only files that may import it
ONLY = {
    "django_q": ("runs/broker.py", "runs/tasks.py"),
    "cel_expr_python": ("flows/definition/expr.py", "flows/definition/cel_env.py"),
}


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    path: str
    line: int
    imported: str
    rule: str


@dataclass(frozen=True, slots=True)
class Import:
    line: int
    module: str


def imports_of(source: str) -> Iterator[Import]:
    """Every imported module of a file, wherever it stands (functions and TYPE_CHECKING included).

    `from a.b import c` counts as a.b.c, since c may be a module. Relative imports are banned by ruff.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (Import(node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def breaches(root: Path) -> list[Breach]:
    """All breaches below `root`, in order. Tests and migrations may import what they test and need."""
    found: list[Breach] = []
    for app in LAYERS:
        for file in sorted((root / app).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            if "/tests/" not in path and "/migrations/" not in path and not file.name.startswith("test_"):
                found += [
                    Breach(path, item.line, item.module, rule)
                    for item in imports_of(file.read_text())
                    for rule in rules_broken(path, item.module)
                ]
    return sorted(found)


def rules_broken(path: str, module: str) -> Iterator[str]:
    """Why the file at `path` must not import `module`; nothing when it may."""
    here, top = path.split("/")[0], module.split(".")[0]
    if LAYERS.get(top, 0) > LAYERS[here]:
        yield f"{here} (layer {LAYERS[here]}) must not import {top} (layer {LAYERS[top]})"
    if top in ONLY and not path.startswith(ONLY[top]):
        yield f"only {' and '.join(ONLY[top])} may import {top}"
    prefix = pure_prefix(path)
    if prefix is not None and not may_pure(prefix, module):
        yield f"{prefix} is pure: it must not import {module}"


def pure_prefix(path: str) -> str | None:
    if path.startswith("flows/steps/") and path.endswith("/config.py"):
        return "flows/definition/"
    return next((prefix for prefix in PURE if path.startswith(prefix)), None)


def may_pure(prefix: str, module: str) -> bool:
    top, allowed = module.split(".")[0], PURE[prefix]
    if allowed is not None:
        return top in sys.stdlib_module_names or any(
            module == name or module.startswith(f"{name}.") for name in allowed
        )
    if top in LAYERS:
        return module.startswith(("flows.definition", "flows.steps"))
    return top not in DJANGO
