"""What "New flow" offers, and what must be made before an example runs: read from the head of its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flows.definition.lint import Known
from flows.examples import EXAMPLES
from flows.starters import STARTERS, Starter

BY_NAME: Final[Mapping[str, Starter]] = {starter.name: starter for starter in (*STARTERS, *EXAMPLES)}
#: `connection shop (postgres): an account that may …`, and indented lines that go on
_NEED = re.compile(
    r"^#   (connection|secret|group|variable|runner) ([a-z0-9_-]+)(?: \(([a-z]+)\))?: (.+(?:\n#     .+)*)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Need:
    """What must be there. `type` is a connection's kind, else empty; `why` says what it must be able to do."""

    kind: str
    name: str
    type: str
    why: str

    def is_there(self, known: Known) -> bool | None:
        """None: runners come and go, and are not looked for."""
        if self.kind == "runner":
            return None
        places = {
            "connection": known.connections, "secret": known.secrets, "group": known.groups,
            "variable": known.variables,
        }  # fmt: skip
        return self.name in (places[self.kind] or ())


def needs_of(text: str) -> list[Need]:
    """What a text's head asks for, in its order. Pure."""
    return [
        Need(kind, name, type_ or "", re.sub(r"\n#\s+", " ", why).replace("`", ""))
        for kind, name, type_, why in _NEED.findall(text)
    ]
