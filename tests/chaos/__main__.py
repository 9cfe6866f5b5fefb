"""`python -m tests.chaos [--database sqlite,postgres] [--runs N] [--faults N] [--seed N] [--short] [--plant NAME]`"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys

from tests.chaos.plants import PLANTS
from tests.services import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", default="sqlite,postgres")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--faults", type=int)
    parser.add_argument("--every", type=float, help="mean seconds between two faults")
    parser.add_argument("--lease", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="120 runs, 25 faults, a lease of 3 s")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="spoil the program: the checks must notice")
    parser.add_argument("--only", default="", help="kinds of faults, separated by commas")
    parser.add_argument("--flows", default="", help="flows to run, separated by commas")
    asked = parser.parse_args()
    runs, faults, every, lease = (120, 25, 0.8, 3.0) if asked.short else (5000, 500, 0.9, 30.0)
    sizes = {"runs": asked.runs or runs, "faults": asked.faults or faults, "every": asked.every or every}
    sizes["lease"] = asked.lease or lease
    env = dict(os.environ) | ({"CHAOS_PLANT": asked.plant} if asked.plant else {})
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    worst = 0
    for database in asked.database.split(","):
        argv = [sys.executable, "-m", "tests.chaos.campaign", "--database", database, "--seed", str(asked.seed)]
        argv += [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
        argv += ["--only", asked.only, "--flows", asked.flows, *(PLANTS[asked.plant][1] if asked.plant else ())]
        done = subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
        worst = max(worst, done.returncode)
        try:
            print(json.dumps(json.loads(done.stdout.splitlines()[-1]), indent=1))
        except (ValueError, IndexError):
            print(f"{database}: the campaign itself broke (exit code {done.returncode})")
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
