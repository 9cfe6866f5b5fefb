from __future__ import annotations

import pytest

from tests.tls import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def mine(authority: Authority) -> Pair:
    """What the program shows of itself."""
    return authority.pair("orchestra")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signed nothing of what is served here."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")
