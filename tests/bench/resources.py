"""1 GiB as a resource, in and out: seconds and the most memory of the process, for files and an S3 server on loopback,
and through the web process, in parts and to a client that stops reading for a while.

Of memory both counts: what is resident, with the pages of libraries that all processes share, and what is private.

`python -m tests.bench.resources [MiB]`; prints JSON. Each case is a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.resources.moto_server import running
from tests.resources.transfers import Client, Large, Watched, forget_peak, memory, private
from tests.services import ROOT, postgres
from tests.web import web

#: run with DATA_DIR and the storage's settings in its environment; argv: MiB
PROGRAM = """
import hashlib, json, os, sys, time
import django
django.setup()
from resources import artifacts
from resources.filestore import store
if hasattr(store(), "bucket_name"):
    store()._client.create_bucket(Bucket=store().bucket_name)
artifacts.store(b"warm")
from tests.resources.transfers import Watched, forget_peak, memory, private
me, piece = os.getpid(), bytes(range(256)) * 4096
idle = {"idle_mib": round(memory(me, "VmRSS")), "idle_private_mib": round(private(me))}
forget_peak(me)
with Watched(me) as watched:
    began = time.monotonic()
    made = artifacts.write((piece for _ in range(int(sys.argv[1]))), content_type="x/y")
    stored = time.monotonic()
    digest = hashlib.sha256()
    with artifacts.open_(made.pk) as file:
        while data := file.read(1 << 20):
            digest.update(data)
    read = time.monotonic()
assert digest.hexdigest() == made.sha256
print(json.dumps({"in_s": round(stored - began, 2), "out_s": round(read - stored, 2), **idle,
                  "peak_mib": round(memory(me)), "peak_private_mib": round(watched.most)}))
"""

BUCKET = """
import django
django.setup()
from resources.filestore import store
store()._client.create_bucket(Bucket=store().bucket_name)
"""
#: as `serve` starts it, with compiled Python: compiling leaves holes that stay
KEPT = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{tempfile.gettempdir()}/orchestra-bench-bytecode"}


def case(mib: int, **env: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="orchestra-bench-") as folder:
        own = {**os.environ, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "orchestra.settings", **env}
        # in a process of its own: migrating takes more memory than all that is measured here
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=own, check=True)
        argv = [sys.executable, "-c", PROGRAM, str(mib)]
        done = subprocess.run(argv, cwd=ROOT, env=own, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def through_the_web(mib: int, **env: str) -> dict[str, float]:
    large, found = Large(mib), dict[str, float]()
    folders = tempfile.TemporaryDirectory(prefix="orchestra-web-")
    with folders as folder, web(Path(folder) / "web", **KEPT, **env) as site:
        if "RESOURCES_S3_BUCKET" in env:
            subprocess.run([sys.executable, "-c", BUCKET], cwd=ROOT, env=site.environment, check=True)
        client = Client(site.url, site.manage("create_token", "admin"))
        client.upload(Large(1))
        found |= {"idle_mib": round(memory(site.pid, "VmRSS")), "idle_private_mib": round(private(site.pid))}
        forget_peak(site.pid)
        with Watched(site.pid) as watched:
            began = time.monotonic()
            made = client.upload(large)
            stored = time.monotonic()
            digest = client.download(made)
            found |= {"in_s": round(stored - began, 2), "out_s": round(time.monotonic() - stored, 2)}
            slow = client.download(made, rest=5.0)
        if {digest, slow} != {large.sha256()}:
            raise ValueError("What came is not what was sent.")
        return found | {"peak_mib": round(memory(site.pid)), "peak_private_mib": round(watched.most)}


def main(mib: int) -> None:
    results = {"files": case(mib), "files, encrypted": case(mib, ENCRYPT_RESOURCES="true")}
    results["web"] = through_the_web(mib)
    results["web, encrypted"] = through_the_web(mib, ENCRYPT_RESOURCES="true")
    with postgres() as server:
        results["web, PostgreSQL"] = through_the_web(mib, DATABASE_URL=server.url)
    with tempfile.TemporaryDirectory(prefix="orchestra-s3-") as folder, running(Path(folder)) as url:
        bucket = {"RESOURCES_S3_BUCKET": "bench", "RESOURCES_S3_ENDPOINT": url}
        bucket |= {"RESOURCES_S3_ACCESS_KEY": "me", "RESOURCES_S3_SECRET_KEY": "secret"}
        results["bucket"] = case(mib, **bucket)
        results["web, bucket"] = through_the_web(mib, **{**bucket, "RESOURCES_S3_BUCKET": "web"})
    sys.stdout.write(json.dumps({"mib": mib, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
