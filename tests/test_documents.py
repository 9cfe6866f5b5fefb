"""The documents hold: links lead somewhere, decisions have numbers of their own, every dependency has its reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = ROOT / "docs/decisions"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text()


def requirements() -> set[str]:
    """Names of all that pyproject.toml asks for, as they are written there."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    return {re.split(r"[\[~=<>! ]", wanted)[0] for group in groups for wanted in group}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_between_documents_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_decision_has_a_number_of_its_own_and_a_place_in_the_index() -> None:
    index = (DECISIONS / "README.md").read_text()
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for number, page in enumerate(pages, start=1):
        title = page.read_text().splitlines()[0]
        assert title.startswith(f"# {number}. ")
        assert f"| {number} | [{title.removeprefix(f'# {number}. ')}]({page.name}) |" in index


def test_every_dependency_has_its_reason() -> None:
    page = (DECISIONS / "dependencies.md").read_text()
    assert len(requirements()) > 30
    assert {name for name in requirements() if not re.search(rf"`{re.escape(name)}(\[[\w-]+\])?`", page)} == set()


def test_the_readme_names_commands_and_settings_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) <= known
    code = "\n".join(path.read_text() for path in sorted((ROOT / "orchestra").rglob("*.py")))
    names = set(re.findall(r"`([A-Z][A-Z_]+)(?:=[^`]*)?`", README))
    levels = {"INFO", "WARNING"}
    assert {name for name in names - levels if f'"{name}"' not in code} == set()
    for path in re.findall(r"`((?:tests|docs)/[\w/.]+)`", README):
        assert (ROOT / path).exists()
    for command in re.findall(r"manage\.py (\w+)", README):
        assert command == "createsuperuser" or list(ROOT.glob(f"*/management/commands/{command}.py"))


def test_the_lock_files_name_no_host() -> None:
    for lock in (*ROOT.glob("requirements*.lock"), ROOT / "package-lock.json"):
        assert "://" not in lock.read_text(), lock.name
