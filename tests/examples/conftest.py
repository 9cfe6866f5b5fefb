"""The example flows as a new flow starts from them, with real servers outside; people decide over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.connections import create_connection
from resources.secrets import set_secret
from tests.engine.cluster import SYSTEM
from tests.engine.conftest import database
from tests.examples.outside import Outside, serve
from tests.families import sshd

__all__ = ["database"]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Sshd]:
    with sshd.serve(tmp_path_factory.mktemp("machine")) as running:
        yield running


@pytest.fixture
def ssh(database: str, machine: sshd.Sshd) -> Callable[..., Path]:
    """Make an ssh connection; keywords are programs there. Gives the account's home, emptied for this test."""

    def make(name: str, **programs: str) -> Path:
        set_secret(actor=SYSTEM, name="ssh-key", value=machine.private_key)
        create_connection(actor=SYSTEM, name=name, kind="ssh", settings=machine.settings())
        for file in machine.home.glob("*"):
            if file.is_file():
                file.unlink()
        (machine.home / "bin").mkdir(exist_ok=True)
        for program, text in programs.items():
            path = machine.home / "bin" / program.replace("_", "-")
            path.write_text(f'#!/bin/sh\ncd "$HOME" || exit 1\n{text}')
            path.chmod(0o755)
        return machine.home

    return make


@pytest.fixture
def outside(database: str) -> Iterator[Outside]:
    """An HTTP server that the connections `ci` and `monitor` lead to, and that takes callbacks."""
    with serve() as server:
        yield server


@pytest.fixture
def http(outside: Outside) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        settings = {"base_url": outside.url, "allow_networks": ["127.0.0.0/8"]}
        return create_connection(actor=SYSTEM, name=name, kind="http", settings=settings)

    return make
