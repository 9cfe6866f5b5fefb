"""What a new flow can start from. Texts with slug, title and folder put in as YAML scalars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Starter:
    name: str
    title: str
    summary: str
    folder: Path = HERE

    @property
    def text(self) -> str:
        """The template, with the places of slug, title and folder in it."""
        return (self.folder / f"{self.name}.yaml").read_text(encoding="utf-8")

    @property
    def shown(self) -> str:
        """A flow of its own name, for reading."""
        return self.source(slug=self.name, title=self.title, folder="")

    def source(self, *, slug: str, title: str, folder: str) -> str:
        """The first draft. JSON texts are YAML texts, so nothing typed can break out of its place."""
        text = self.text
        for key, value in {"slug": slug, "title": title or slug, "folder": folder}.items():
            text = text.replace(f"__{key}__", json.dumps(value, ensure_ascii=False))
        return text


STARTERS = (
    Starter("empty", "Empty", "One step that sleeps for a second. The shortest flow there is."),
    Starter("approval", "Ask before acting", "A person approves an irreversible call, seeing exactly what it will do."),
    Starter("webhook", "React to a webhook", "Takes signed deliveries, ignores some, and works on the rest."),
    Starter("schedule", "Run by the clock", "Starts each working day in a time zone, and knows which day it is for."),
)
