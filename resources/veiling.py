"""What of a run may be shown to whoever sees the run, for what is kept of it here: notices, deliveries, resources.

Which values are sensitive is known above; whoever knows says so (`register`, from an app's `ready()`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from resources.models import Artifact

Json = Any


class Shade(Protocol):
    """Masks what one run shows. `text` and `tree` are pure; of a resource see `content`."""

    def text(self, text: str) -> str: ...

    def tree(self, value: Json) -> Json: ...


class Clear:
    """Nothing is sensitive."""

    def text(self, text: str) -> str:
        return text

    def tree(self, value: Json) -> Json:
        return value


@dataclass(frozen=True, slots=True)
class Content:
    """Of a resource that is not to be read as it is. `data` None: not at all."""

    data: bytes | None


_shade: Callable[[str], Shade] = lambda run_id: Clear()  # noqa: E731
_content: Callable[[Artifact], Content | None] = lambda row: None  # noqa: E731


def register(shade: Callable[[str], Shade], content: Callable[[Artifact], Content | None]) -> None:
    """`shade(run id)`; `content(resource)`: None for one that may be read as it is."""
    global _shade, _content
    _shade, _content = shade, content


def of_run(run_id: str) -> Shade:
    """Of a run that is not there, or ""; nothing is sensitive."""
    return _shade(run_id) if run_id else Clear()


def content_of(row: Artifact) -> Content | None:
    """What of a resource is shown and given away; None: all of it."""
    return _content(row) if row.run_id else None
