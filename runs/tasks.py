"""What django-q2 runs: a worker's whole life is one task."""

from __future__ import annotations

from runs.serve import serve

__all__ = ["serve"]
