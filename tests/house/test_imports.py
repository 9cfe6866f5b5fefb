"""A worker starts fast: what one family needs is imported by its first step, not before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: libraries that one family or one setting needs
HEAVY = {"asyncssh", "sqlalchemy", "pymysql", "apprise", "boto3", "botocore", "storages", "mcp", "playwright"}
WORKER = "import runs.serve, runs.worker, flows.steps.registry"
WEB = "import orchestra.asgi"


@pytest.mark.parametrize("process", [WORKER, WEB])
def test_no_process_imports_a_familys_library_before_it_is_used(process: str) -> None:
    program = f"import json, sys, django; django.setup(); {process}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert loaded & HEAVY == set()
