"""Why somebody may do something, or not: which grant says so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from resources.access import covers, includes

Verb = Literal["view", "write", "start", "operate", "decide", "administer"]
#: what people do -> (the roles of which one is needed on the folder, what it is called)
ACTIONS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "view": (("viewer",), "See what is in it"),
    "write": (("author",), "Write and release flows"),
    "start": (("author", "operator"), "Start runs"),
    "operate": (("operator",), "Operate runs and schedules"),
    "decide": (("reviewer",), "Decide approvals"),
    "administer": (("admin",), "Give and take roles"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a role comes from. `folder` "" is everything. `group`: through it; `grant` None: a superuser, by nature."""

    role: str
    folder: str
    group: str = ""
    grant: int | None = None
    reason: str = ""

    @property
    def says(self) -> str:
        """Such as: operator on payments, through the group on-call."""
        where = self.folder or "everything"
        through = f", through the group {self.group}" if self.group else ""
        return f"{self.role} on {where}{through}" if self.grant is not None else "superuser"


def because(sources: Iterable[Source], action: str, folder: str) -> list[Source]:
    """What allows `action` on `folder`; []: nothing does. Raises KeyError for an action that there is not."""
    needed, _ = ACTIONS[action]
    return [s for s in sources if covers(s.folder, folder) and any(includes(s.role, role) for role in needed)]


def missing(action: str, folder: str) -> str:
    """What somebody without it would need, in words."""
    needed, _ = ACTIONS[action]
    return f"It needs the role {' or '.join(needed)} on {folder or 'everything'}."
