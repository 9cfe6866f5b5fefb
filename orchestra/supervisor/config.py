"""What the environment says about one instance. Pure: the environment and the number of cores are arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestra.supervisor.scale import Policy

QUEUE = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class CannotStart(Exception):
    """The message is one sentence for the person at the terminal. Exit code 2."""


@dataclass(frozen=True, slots=True)
class Config:
    """`grace_s`: seconds a child has to end after SIGTERM. `start_s`: seconds until everything has to be ready.
    `allowed_host`: the name our own probes call the web process by, where ALLOWED_HOSTS leaves loopback out."""

    host: str
    port: int
    data_dir: Path
    workers: int
    demo: bool
    log_level: str
    grace_s: float
    start_s: float
    allowed_host: str = ""
    max_workers: int = 0  # `workers` is the minimum; not above it: the number is fixed
    queues: tuple[str, ...] = ("default",)
    scale_up_s: float = 5.0
    scale_down_s: float = 60.0
    worker_database_url: str = field(default="", repr=False)  # of the restricted role that workers run under

    @property
    def policy(self) -> Policy:
        high = max(self.workers, self.max_workers)
        return Policy(self.workers, high, max(1, self.workers), self.scale_up_s, self.scale_down_s)

    def env_of(self, name: str, env: Mapping[str, str]) -> dict[str, str]:
        """A child's environment: clusters of workers know the restricted role's address alone, others the owner's."""
        shared = {key: value for key, value in env.items() if key != "WORKER_DATABASE_URL"}
        restricted = self.worker_database_url if name.partition("-")[0] == "work" else ""
        return shared | ({"DATABASE_URL": restricted} if restricted else {})

    @property
    def probe_host(self) -> str:
        """The address under which this machine reaches its own web process."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "", "::") else self.host  # noqa: S104  compared, not bound

    @property
    def url(self) -> str:
        host = f"[{self.probe_host}]" if ":" in self.probe_host else self.probe_host
        return f"http://{host}:{self.port}"


def read_config(env: Mapping[str, str], *, root: Path, cores: int) -> Config:
    """PORT HOST DATA_DIR WORKERS MIN_WORKERS MAX_WORKERS QUEUES DEMO … -> Config. Raises CannotStart."""
    usual = int(_number(env, "WORKERS", max(4, 2 * cores), low=1, high=512))
    workers = int(_number(env, "MIN_WORKERS", usual, low=1, high=512))
    most = int(_number(env, "MAX_WORKERS", workers, low=1, high=512))
    if most < workers:
        raise CannotStart(f"MAX_WORKERS is {most}, fewer than the {workers} there are at least.")
    return Config(
        host=env.get("HOST") or "127.0.0.1",
        port=int(_number(env, "PORT", 8000, low=1, high=65535)),
        data_dir=Path(env.get("DATA_DIR") or root / ".data").resolve(),
        workers=workers,
        demo=_switch(env, "DEMO", default=True),
        log_level=(env.get("LOG_LEVEL") or "WARNING").upper(),
        grace_s=_number(env, "STOP_SECONDS", 30, low=1, high=3600),
        start_s=_number(env, "START_SECONDS", 120, low=5, high=3600),
        max_workers=most,
        queues=read_queues(env.get("QUEUES", "")),
        scale_up_s=_number(env, "SCALE_UP_SECONDS", 5, low=1, high=3600),
        scale_down_s=_number(env, "SCALE_DOWN_SECONDS", 60, low=1, high=86400),
        worker_database_url=_worker_database(env),
        allowed_host=env.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*"),
    )


def read_queues(text: str) -> tuple[str, ...]:
    """Names between commas; without any, `default`. Raises CannotStart."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())) or ("default",)
    for name in names:
        if not QUEUE.fullmatch(name):
            raise CannotStart(f"QUEUES has {name!r}; a queue is called like gpu or big-jobs.")
    return names


def bytecode(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Children keep compiled Python in `folder` if the environment forbids to write it beside the sources: compiling
    all of it takes more time than the rest of a start, in each process."""
    if not env.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": env.get("PYTHONPYCACHEPREFIX") or str(folder)}


def _worker_database(env: Mapping[str, str]) -> str:
    """WORKER_DATABASE_URL; what it says of the role is looked at by `manage.py database_role`. Raises CannotStart."""
    url = env.get("WORKER_DATABASE_URL", "")
    if url and not env.get("DATABASE_URL", "").startswith(("postgres:", "postgresql:")):
        raise CannotStart("WORKER_DATABASE_URL is for PostgreSQL: set DATABASE_URL to a postgres:// URL, too.")
    return url


def _number(env: Mapping[str, str], name: str, default: float, *, low: int, high: int) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = low - 1.0
    if not low <= value <= high or value != int(value):
        raise CannotStart(f"{name} must be a whole number from {low} to {high}, not {text!r}.")
    return value


def _switch(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = env.get(name, "1" if default else "0").lower()
    if text not in TRUE + FALSE:
        raise CannotStart(f"{name} must be 1 or 0, not {text!r}.")
    return text in TRUE


def restart_delay(failures: int) -> float:
    """Seconds before a child that died is started again; `failures` counts deaths in a row, this one included."""
    return 0.0 if failures <= 1 else min(30.0, 0.5 * 2 ** min(failures - 2, 10))
