"""One module of a package, without all that the package itself loads."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def load(name: str) -> None:
    """Import the module `name`. Its package is imported, as always, by whoever asks for that later.

    Raises ImportError."""
    package = name.rpartition(".")[0]
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{package} is no package.")
    shell = ModuleType(package)
    shell.__path__ = spec.submodule_search_locations
    sys.modules[package] = shell
    try:
        import_module(name)
    finally:
        del sys.modules[package]
