"""Outputs that are too large for a run's state become resources of the run."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from resources import artifacts
from resources.fields import dumps
from runs import holding

Json = Any


def storable(output: Json, run_id: str, step: str, folder: str) -> tuple[Json, int]:
    """The output as the state keeps it (large ones become a resource), and its size in bytes. Raises ValueError."""
    data = dumps(output).encode()
    if len(data) <= settings.MAX_INLINE_OUTPUT_BYTES or len(data) > settings.MAX_OUTPUT_BYTES:
        return output, len(data)
    holding.use_named(data.decode(), run_id)
    artifact = artifacts.store(data, content_type="application/json", run_id=run_id, step=step, folder=folder)
    return artifacts.ref(artifact), len(data)
