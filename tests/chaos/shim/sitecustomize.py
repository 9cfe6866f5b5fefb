"""Loaded by every Python process of the program under chaos: a clock that can be set, and faults planted on purpose.

`CHAOS_CLOCK`: a file with one float (seconds) that this host's clock is wrong by. `CHAOS_PLANT`: the name of a fault in
tests/chaos/plants.py, to see that the checks find it.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time

if path := os.environ.get("CHAOS_CLOCK"):
    _file = os.open(path, os.O_RDONLY)
    _memory = mmap.mmap(_file, 8, prot=mmap.PROT_READ)
    _real = time.time

    def _time() -> float:
        offset: float = struct.unpack_from("d", _memory)[0]
        return _real() + offset

    time.time = _time

if plant := os.environ.get("CHAOS_PLANT"):
    import importlib.abc
    import importlib.machinery
    from types import ModuleType

    from tests.chaos.plants import PLANTS

    spoils = dict(PLANTS[plant][0])

    class _Loader(importlib.abc.Loader):
        def __init__(self, loader: importlib.abc.Loader, name: str) -> None:
            self.loader, self.name = loader, name

        def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
            return self.loader.create_module(spec)

        def exec_module(self, module: ModuleType) -> None:
            self.loader.exec_module(module)
            spoils[self.name](module)

    class _Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
            if name not in spoils:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path)  # type: ignore[arg-type]
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, name)
            return spec

    sys.meta_path.insert(0, _Finder())
