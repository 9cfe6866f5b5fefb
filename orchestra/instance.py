"""What `manage.py serve` writes into DATA_DIR, so that a command run by hand later means the same instance."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE = "instance.json"


@dataclass(frozen=True, slots=True)
class Instance:
    """`world_url` is empty without a demo world. The defaults stand for an instance that was never served."""

    port: int = 8000
    demo: bool = False
    world_url: str = ""


def read(data_dir: Path) -> Instance:
    """The instance of this folder; defaults where there is none or the file is not ours."""
    try:
        found = json.loads((data_dir / FILE).read_text())
        return Instance(**{item.name: found[item.name] for item in fields(Instance)})
    except (OSError, ValueError, KeyError, TypeError):
        return Instance()


def write(data_dir: Path, instance: Instance) -> None:
    """Replace the file in one step: a reader sees the old one or the new one. Raises OSError."""
    temporary = data_dir / f".{FILE}.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(instance)))
    temporary.replace(data_dir / FILE)
