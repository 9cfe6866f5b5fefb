"""What the environment says about one instance. Pure: the environment and the number of cores are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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

    @property
    def probe_host(self) -> str:
        """The address under which this machine reaches its own web process."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "", "::") else self.host  # noqa: S104  compared, not bound

    @property
    def url(self) -> str:
        host = f"[{self.probe_host}]" if ":" in self.probe_host else self.probe_host
        return f"http://{host}:{self.port}"


def read_config(env: Mapping[str, str], *, root: Path, cores: int) -> Config:
    """PORT HOST DATA_DIR WORKERS DEMO LOG_LEVEL STOP_SECONDS START_SECONDS -> Config. Raises CannotStart."""
    return Config(
        host=env.get("HOST") or "127.0.0.1",
        port=int(_number(env, "PORT", 8000, low=1, high=65535)),
        data_dir=Path(env.get("DATA_DIR") or root / ".data").resolve(),
        workers=int(_number(env, "WORKERS", max(4, 2 * cores), low=1, high=512)),
        demo=_switch(env, "DEMO", default=True),
        log_level=(env.get("LOG_LEVEL") or "WARNING").upper(),
        grace_s=_number(env, "STOP_SECONDS", 30, low=1, high=3600),
        start_s=_number(env, "START_SECONDS", 120, low=5, high=3600),
        allowed_host=env.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".*"),
    )


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
