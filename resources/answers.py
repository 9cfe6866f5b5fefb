"""One model for each shape an API operation answers with, however many operations and statuses answer with it; and no
model is compiled before the first request that needs it.

ninja makes one for each status of each operation: 1,800 of them, most for the one error shape, which took half of the
time and 25 MiB of what the web process needs to start. To compile what is left of them takes 5 MiB and 0.3 s more.
"""

from __future__ import annotations

from typing import Any

from ninja import Schema
from ninja.operation import Operation
from ninja.params.models import ParamModel
from pydantic import BaseModel

_make = Operation._create_response_model
_made: dict[Any, type[Schema] | None] = {}


def _shared(operation: Operation, response_param: Any) -> type[Schema] | None:
    if response_param not in _made:
        _made[response_param] = _make(operation, response_param)
    return _made[response_param]


def share() -> None:
    """From now on operations share, and models that come are compiled by their first use."""
    Operation._create_response_model = _shared  # type: ignore[method-assign, assignment]
    bases: list[type[BaseModel]] = [Schema, *ParamModel.__subclasses__()]  # each has a configuration of its own
    for base in bases:
        base.model_config["defer_build"] = True
