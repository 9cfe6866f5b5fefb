"""Where a backend finds a value. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PREFIX = "ORCHESTRA_SECRET_"
_SEGMENT = re.compile(r"[A-Za-z0-9_.@+=-]{1,128}")


def _variable(text: str) -> str:
    if not re.fullmatch(PREFIX + "[A-Z0-9_]{1,100}", text):
        raise ValueError(f"The variable's name begins with {PREFIX}; capital letters, digits and _ follow.")
    return text


def _path(text: str) -> str:
    """Segments of harmless characters: nothing that leads elsewhere or ends the path."""
    text = text.strip("/")
    segments = text.split("/")
    if not all(_SEGMENT.fullmatch(segment) and set(segment) != {"."} for segment in segments):
        raise ValueError("Write it as a/b/c, of letters, digits and _ . @ + = -")
    return text


class EnvLocator(BaseModel):
    """A variable of this process's environment; only such as an administrator of the host meant for this."""

    model_config = ConfigDict(extra="forbid", strict=True)

    variable: Annotated[str, AfterValidator(_variable)]


class VaultLocator(BaseModel):
    """One field of a secret in a KV version 2 engine."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mount: Annotated[str, Field(max_length=200), AfterValidator(_path)] = "secret"
    path: Annotated[str, Field(max_length=500), AfterValidator(_path)]
    field: Annotated[str, Field(min_length=1, max_length=200)] = "value"
    version: Annotated[int, Field(ge=1, le=2**31)] | None = None  # None: the newest
