"""The repository itself: what `make` says, what lock files hold, which database the tests run on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.db import connection

from tests.services import ROOT

HOSTS = ("pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_make_alone_prints_its_targets() -> None:
    printed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    described = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.M)
    assert {"run", "install", "build", "lint", "test", "bench", "lock"} <= set(described)
    assert re.findall(r"^  make ([a-z-]+) ", printed, flags=re.M) == described


def test_no_file_names_a_package_host() -> None:
    files = [ROOT / name for name in tracked() if (ROOT / name).is_file()]
    assert files
    assert [str(path) for path in files if any(host.encode() in path.read_bytes() for host in HOSTS)] == []


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "requirements-bootstrap", "requirements-node"])
def test_every_locked_python_package_has_a_version_and_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / f"{name}.lock").read_text().strip())
    assert entries
    assert [
        entry for entry in entries if not re.match(r"[\w.\[\],-]+==\S+", entry) or "--hash=sha256:" not in entry
    ] == []


def test_every_locked_front_end_package_has_a_hash_and_no_address() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    entries = {name: entry for name, entry in packages.items() if name}
    assert entries
    assert [name for name, entry in entries.items() if "integrity" not in entry or "resolved" in entry] == []


@pytest.mark.parametrize(("tools", "lock"), [([], "requirements.lock"), (["pytest"], "requirements-dev.lock")])
def test_make_run_takes_nothing_away_from_a_developers_environment(tmp_path: Path, tools: list[str], lock: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-bootstrap.lock", "requirements-node.lock"):
        (tmp_path / name).touch()
    for name in ["uv", *tools]:
        (programs / name).touch()
    planned = subprocess.run(["make", "-n", "install-app"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.findall(r"requirements(?:-dev)?\.lock", planned.stdout) == [lock]


@pytest.mark.db_matrix
@pytest.mark.django_db
def test_the_database_is_the_one_that_was_asked_for() -> None:
    wanted = "postgresql" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs_run")
        assert (connection.vendor, cursor.fetchone()) == (wanted, (0,))
