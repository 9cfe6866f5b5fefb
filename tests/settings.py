"""The product's settings in a DATA_DIR of the test session's own, so that no test touches a developer's data."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_data = Path(tempfile.mkdtemp(prefix="orchestra-tests-"))
atexit.register(shutil.rmtree, _data, ignore_errors=True)
(_data / "static").mkdir()
os.environ["DATA_DIR"] = str(_data)

from orchestra.settings import *  # noqa: E402, F403  after DATA_DIR is set
from orchestra.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # a file, as in production: in memory, WAL and locks between processes would not be tested
    DATABASES["default"]["TEST"] = {"NAME": str(_data / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
HOOK_LOG_SECONDS = 0.0  # a thread of its own would write beside a test's transaction; tests write the log themselves
