"""A worker starts fast: what one family needs is imported by its first step, not before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: libraries that one family or one setting needs
HEAVY = {
    "asyncssh", "sqlalchemy", "pymysql", "apprise", "boto3", "botocore", "storages", "mcp", "playwright",
    "jsonschema_rs", "markdown_it",
}  # fmt: skip
#: what ninja would bring in for one signal (orchestra/web/alone.py)
UNUSED = {"unittest", "jinja2", "django.test"}
WORKER = "import sys, django; django.setup(); import runs.serve, runs.worker, flows.steps.registry"
WEB = """
import runpy, sys
from orchestra.web import server
server.Command.entrypoint = lambda: __import__("orchestra.asgi")
runpy.run_module("orchestra.web", run_name="__main__")
"""


def loaded(process: str) -> set[str]:
    program = f"{process}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("process", [WORKER, WEB])
def test_no_process_imports_a_familys_library_before_it_is_used(process: str) -> None:
    assert {name.partition(".")[0] for name in loaded(process)} & HEAVY == set()


def test_the_web_process_does_not_load_what_it_can_do_without() -> None:
    found = loaded(WEB)
    assert "orchestra.api" in found
    assert found & UNUSED == set()
