"""One model for each shape an API operation answers with, however many operations and statuses answer with it.

ninja makes one for each status of each operation: 1,800 of them, most for the one error shape, which took half of the
time and 25 MiB of what the web process needs to start.
"""

from __future__ import annotations

from typing import Any

from ninja import Schema
from ninja.operation import Operation

_make = Operation._create_response_model
_made: dict[Any, type[Schema] | None] = {}


def _shared(operation: Operation, response_param: Any) -> type[Schema] | None:
    if response_param not in _made:
        _made[response_param] = _make(operation, response_param)
    return _made[response_param]


def share() -> None:
    """From now on operations share."""
    Operation._create_response_model = _shared  # type: ignore[method-assign, assignment]
