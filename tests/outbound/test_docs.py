"""docs/events.md is what the code does."""

from __future__ import annotations

import re
import time
from typing import Any

from runs.outbound import signing
from runs.outbound.types import BY_NAME, PUBLISHED
from tests.services import ROOT

TEXT = (ROOT / "docs/events.md").read_text()


def test_the_list_of_types_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(orchestra\.[^`]+)` \| (.+?) \|(.*)\|$", TEXT, flags=re.M)
    documented = {name: (says, set(re.findall(r"`([^`]+)`", fields))) for name, says, fields in rows}
    assert documented == {name: (kind.says, set(kind.fields)) for name, kind in BY_NAME.items()}


def test_whatever_the_engine_says_of_a_run_is_published() -> None:
    sources = [path.read_text() for path in (ROOT / "runs/engine").glob("*.py")]
    said = {found for text in sources for found in re.findall(r'"(run\.[a-z_]+)"', text)}
    assert len(said) > 5
    bookkeeping = {"run.output_kept"}  # where a large output went: nobody outside can follow it
    assert said - bookkeeping <= set(PUBLISHED)


def test_the_receivers_snippet_verifies_what_is_sent() -> None:
    (snippet,) = re.findall(r"```python\n(.+?)```", TEXT, flags=re.S)
    names: dict[str, Any] = {}
    exec(snippet, names)
    secret, old = signing.new_secret(b"a" * 32), signing.new_secret(b"b" * 32)
    headers = signing.headers([secret, old], "evt_1", time.time(), b"{}")
    assert names["verify"](headers, b"{}", secret)
    assert names["verify"](headers, b"{}", old)
    assert not names["verify"](headers, b"{} ", secret)
    assert not names["verify"](headers, b"{}", signing.new_secret(b"c" * 32))
    assert not names["verify"]({**headers, "webhook-timestamp": "1"}, b"{}", secret)
