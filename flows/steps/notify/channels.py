"""The ways to the outside of one step: what each is sent by, and to whom. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from flows.steps.base import Action, Refused
from flows.steps.notify.config import MAX_RECIPIENTS
from resources.kinds.notify import AppriseSettings, SmtpSettings

Json = Any


@dataclass(frozen=True, slots=True)
class Way:
    """`name`: the connection's, which a record of it bears; a second one by the same connection is `mail#2`."""

    name: str
    connection: Mapping[str, Json]
    to: tuple[str, ...]
    cc: tuple[str, ...]

    @property
    def recipients(self) -> list[str]:
        return list(dict.fromkeys(self.to + self.cc))

    def key(self, key: str) -> str:
        """The idempotency key of this way: the step's own, unless the connection is used before."""
        _, number, count = self.name.partition("#")
        return f"{key}{number}{count}"


def ways_of(action: Action) -> list[Way]:
    config = action.config
    if action.connection is not None:
        return [_way(str(action.connection["name"]), action.connection, config)]
    return list(_numbered(config.get("channels") or ()))


def _numbered(channels: Sequence[Mapping[str, Json]]) -> Iterator[Way]:
    seen: Counter[str] = Counter()
    for channel in channels:
        name = str(channel["connection"]["name"])
        seen[name] += 1
        yield _way(f"{name}#{seen[name]}" if seen[name] > 1 else name, channel["connection"], channel)


def _way(name: str, connection: Mapping[str, Json], to: Mapping[str, Json]) -> Way:
    return Way(name, connection, tuple(to["to"]), tuple(to["cc"]))


def check(name: str, settings: BaseModel | None, to: Sequence[str], cc: Sequence[str], attached: bool) -> str:
    """The address that messages come from; "" where there is none. Raises Refused."""
    if isinstance(settings, SmtpSettings):
        if not 1 <= len(to) + len(cc) <= MAX_RECIPIENTS:
            raise Refused(f"An e-mail goes to 1 to {MAX_RECIPIENTS} addresses, `to` and `cc` together")
        return settings.sender
    if not isinstance(settings, AppriseSettings):
        raise Refused(f"The connection {name!r} carries no messages (smtp or apprise)")
    if to or cc or attached:
        raise Refused("to, cc and attachments go with an smtp connection; an apprise one names its place itself")
    return ""


def joined(ready: Mapping[str, Json], found: Sequence[tuple[dict[str, Json], BaseModel]]) -> list[Json]:
    """The channels of a prepared config with what their connections are. Raises Refused."""
    made = []
    for channel, (connection, settings) in zip(ready["channels"], found, strict=True):
        sender = check(connection["name"], settings, channel["to"], channel["cc"], False)
        made.append({**channel, "connection": connection, **({"from": sender} if sender else {})})
    if ready["attachments"] and not any("from" in channel for channel in made):
        raise Refused("attachments go with an smtp connection; there is none among the channels")
    return made
