"""The flows that run under chaos: each can reach its end whatever happens, unless a person must say what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER = Path(__file__).with_name("flows")
#: flow -> its share of the runs
SHARES: Final = {"chaos-pay": 5, "chaos-callback": 3, "chaos-gate": 2, "chaos-saga": 2, "chaos-tree": 1}
#: the leaf first: the tree calls it
SOURCES: Final = {
    slug: (_FOLDER / f"{slug.removeprefix('chaos-')}.yaml").read_text() for slug in ("chaos-leaf", *SHARES)
}
HOOK_SECRET: Final = "chaos-secret-0123456789"
