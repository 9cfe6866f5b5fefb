"""What a line of the log keeps to itself."""

from __future__ import annotations

import logging
from logging.config import DictConfigurator
from typing import Any

import pytest
from django.conf import settings

from resources.ids import new_id
from runs import tokens


@pytest.mark.parametrize("item", [-1, 0, 12])
def test_the_log_never_has_what_answers_a_callback(item: int) -> None:
    token = tokens.make(new_id(), 3, item, 2)
    config: Any = settings.LOGGING
    line = DictConfigurator(config).configure_formatter(dict(config["formatters"]["line"]))
    record = logging.LogRecord("django.request", 30, "", 0, "%s: %s", ("Unauthorized", f"/callbacks/{token}"), None)
    said = line.format(record)
    where, _, key = token.rpartition("-")
    assert key not in said and f"Unauthorized: /callbacks/{where}-…" in said
