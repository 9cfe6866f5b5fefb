"""Where the values of secrets are, when not in our own table: read at the moment of use, never written to a disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from resources.backends import env, vault
from resources.backends.errors import Refused
from resources.backends.locators import EnvLocator, VaultLocator
from resources.errors import BadInput

STORED: Final = "stored"
MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Backend:
    """`read`: the value of a locator; raises backends.errors.Unreachable, Refused."""

    name: str
    title: str
    Locator: type[BaseModel]
    read: Callable[[Any], str]


BACKENDS: Final[Mapping[str, Backend]] = {
    backend.name: backend
    for backend in (
        Backend("env", "the environment", EnvLocator, env.read),
        Backend("vault", "HashiCorp Vault", VaultLocator, vault.read),
    )
}


def forget() -> None:
    """What this process remembers of values and of signing in: the next read asks again."""
    vault.forget()


def parse(source: str, locator: Mapping[str, Any]) -> dict[str, Any]:
    """The locator as it is kept. Raises BadInput with `details` [{path, message}]."""
    if source not in BACKENDS:
        message = f"There is no source {source}; there are: {', '.join(BACKENDS)}."
        raise BadInput(message, details=[{"path": "source", "message": message}])
    try:
        return BACKENDS[source].Locator.model_validate(dict(locator)).model_dump(mode="json")
    except ValidationError as error:
        details = [
            {"path": ".".join(map(str, e["loc"])), "message": e["msg"].removeprefix("Value error, ")}
            for e in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise BadInput(details[0]["message"], hint="Correct the marked fields.", details=details) from None


def read(source: str, locator: Mapping[str, Any]) -> str:
    """The value now: text of 1 to 65,536 bytes. Raises backends.errors.Unreachable, Refused."""
    backend = BACKENDS[source]
    value = backend.read(backend.Locator.model_validate(dict(locator)))
    size = len(value.encode("utf-8", "replace"))
    if not 1 <= size <= MAX_BYTES:
        raise Refused(f"The value in {backend.title} has {size} bytes; 1 to {MAX_BYTES} are taken.")
    return value
