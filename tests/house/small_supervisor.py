"""The supervisor with small children in place of ours: run as a program by test_supervisor.py.

The folder in argv[1] gets a line a start in `NAME.starts`: "PID CHILD_PID" (that child ignores SIGTERM).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orchestra.supervisor.child import Spec
from orchestra.supervisor.config import Config
from orchestra.supervisor.console import Console
from orchestra.supervisor.run import Supervisor, serve

CHILD = """
import os, signal, subprocess, sys, time
name, folder, manners = sys.argv[1:]
stay = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
below = subprocess.Popen([sys.executable, "-c", stay], stdout=subprocess.PIPE)
below.stdout.readline()
if manners == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
print(name + " speaks", flush=True)
with open(f"{folder}/{name}.starts", "a") as file:
    file.write(f"{os.getpid()} {below.pid}\\n")
if manners == "dies":
    sys.exit(3)
time.sleep(600)
"""


class Small(Supervisor):
    def __init__(self, folder: Path, manners: str) -> None:
        config = Config("127.0.0.1", 1, folder, 1, False, "WARNING", grace_s=2, start_s=200)
        super().__init__(config, Console())
        self.folder, self.manners = folder, manners

    def specs(self) -> list[Spec]:
        manners = {"web": "polite", "work": self.manners}
        return [
            Spec(name, (sys.executable, "-c", CHILD, name, str(self.folder), how), self.folder, processes=2)
            for name, how in manners.items()
        ]

    def prepare(self) -> object:
        return None

    def _missing(self) -> str:
        started = [self.folder / f"{name}.starts" for name in ("web", "work")]
        written = all(path.exists() and "\n" in path.read_text() for path in started)
        return "" if written and self.manners != "dies" else "them"


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.exit(serve(Small(Path(sys.argv[1]), sys.argv[2])))
