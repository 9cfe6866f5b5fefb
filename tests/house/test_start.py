"""A start: children load their programs, no more than they need, while the database is prepared, and wait for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra.api import api
from orchestra.supervisor.child import Child, Spec
from orchestra.supervisor.config import bytecode
from orchestra.supervisor.console import Console
from tests.house.test_supervisor import wait_for
from tests.services import ROOT

#: what costs most to load, and neither a worker that has nothing to do nor the keeper needs
HEAVY = {
    "ninja", "unittest", "django.test", "jinja2", "markdown_it", "cel_expr_python.cel", "pydantic_monty", "sqlalchemy",
    "asyncssh", "boto3", "botocore", "apprise", "pymysql", "twisted", "daphne", "autobahn", "orchestra.urls",
    "orchestra.api", "psycopg",
}  # fmt: skip

LOADED = """
import json, sys
import django
django.setup()
import runs.keeper, runs.broker, runs.tasks
print(json.dumps(sorted(sys.modules)))
"""


def test_a_worker_and_the_keeper_load_no_heavy_library_before_they_need_it(tmp_path: Path) -> None:
    env = {**os.environ, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "orchestra.settings"}
    env["DATABASE_URL"] = f"sqlite:///{tmp_path}/none.sqlite3"
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert HEAVY & set(json.loads(done.stdout)) == set()


HELD = """
import pathlib, sys
from orchestra.gate import loaded
print("speaks early", flush=True)
loaded("web")
pathlib.Path(sys.argv[1], "at the gate").touch()
loaded("apps")
early = not pathlib.Path(sys.argv[1], "prepared").exists()
loaded("apps")  # once is enough
sys.exit(early)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Child]:
    with open(tmp_path / "said", "w") as said:
        child = Child(
            Spec("keep", (sys.executable, "-c", HELD, str(tmp_path)), ROOT, gate="apps"), os.environ, Console(said)
        )
        child.start(held=True)
        process = child.process
        assert process is not None
        yield child
        process.kill()
        process.wait()


def test_a_child_started_early_waits_at_its_gate_alone_and_is_silent_until_it_opens(
    held: Child, tmp_path: Path
) -> None:
    assert held.process is not None
    assert wait_for(lambda: (tmp_path / "at the gate").exists(), 60)
    assert (tmp_path / "said").read_text() == ""
    (tmp_path / "prepared").touch()
    held.let_go()
    assert held.process.wait(60) == 0
    assert wait_for(lambda: (tmp_path / "said").read_text() == "keep | speaks early\n", 60)


def test_a_child_that_ended_before_it_is_asked_to_stop_is_swept_up_like_others(tmp_path: Path) -> None:
    with open(tmp_path / "said", "w") as said:
        child = Child(Spec("keep", (sys.executable, "-c", "raise SystemExit(3)"), ROOT), os.environ, Console(said))
        child.start()
        assert child.process is not None
        os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOWAIT)
        child.ask_to_stop()
        assert child.reap() == 3


def test_compiled_python_is_kept_where_the_environment_forbids_it_beside_the_sources(tmp_path: Path) -> None:
    assert bytecode({}, tmp_path) == {}
    kept = bytecode({"PYTHONDONTWRITEBYTECODE": "1"}, tmp_path)
    assert kept == {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    own = bytecode({"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/elsewhere"}, tmp_path)
    assert own["PYTHONPYCACHEPREFIX"] == "/elsewhere"


def test_operations_that_answer_alike_share_one_model() -> None:
    models = [
        model
        for _, router in api._routers
        for view in router.path_operations.values()
        for operation in view.operations
        for model in operation.response_models.values()
        if isinstance(model, type)
    ]
    shapes = {repr(model.__annotations__["response"]) for model in models}
    assert len(models) > 1000
    assert len(set(models)) == len(shapes)
