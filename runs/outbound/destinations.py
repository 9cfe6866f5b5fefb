"""What a subscription may say, checked before it is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore2
from pydantic import TypeAdapter, ValidationError

from flows.models import Flow
from resources import network
from resources.connection_settings import BaseUrl, join_url
from resources.errors import BadInput
from resources.models import Connection
from runs.outbound.types import bad_patterns

MOST = 50
#: seconds that a host's name may take to be looked up; a name that nobody knows yet is not refused
LOOK_UP: Final = 2.0
_URL = TypeAdapter(BaseUrl)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to, and what. Either `url` or `connection` (an http connection) with `path` below its address.

    `types`: patterns (`run.failed`, `run.*`, `*`). `folders`, `flows`: empty for all that the owner may view.
    """

    types: tuple[str, ...]
    url: str = ""
    connection: str = ""
    path: str = ""
    folders: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()
    include_output: bool = False

    def row(self) -> dict[str, Any]:
        """The columns of a Subscription; also what the audit log keeps."""
        return {
            "url": self.url.strip(),
            "connection": self.connection,
            "path": self.path.strip() if self.connection else "",
            "types": list(dict.fromkeys(self.types)),
            "folders": list(dict.fromkeys(folder.strip("/") for folder in self.folders)),
            "flows": list(dict.fromkeys(self.flows)),
            "include_output": self.include_output,
        }


def check_address(wanted: Wanted) -> None:
    """Would its address be refused when it is sent to? Asks the resolver, so before any transaction; sending checks the
    address it connects to again. Raises BadInput, `details` [{path, message}]."""
    row = Connection.objects.filter(name=wanted.connection, kind="http").first() if wanted.connection else None
    url = wanted.url.strip() if row is None else str(row.settings.get("base_url", ""))
    allowed = network.networks(row.settings.get("allow_networks", ())) if row is not None else ()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return  # `check` says what is wrong with it
    if host is None:
        return
    try:
        network.check_all(host, network.look_up(host, port or 443, LOOK_UP), allowed)
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
        return
    except network.AddressRefused as refused:
        _refuse(refused, wanted, row)


def _refuse(refused: network.AddressRefused, wanted: Wanted, row: Connection | None) -> None:
    hint = "Make an http connection whose allowed networks include it, and send through that."
    if row is not None:
        hint = f"Allow its network on the connection {row.name}."
    details = [{"path": "url" if row is None else "connection", "message": refused.message}]
    raise BadInput(refused.message, hint=hint, details=details, code="address_refused")


def check(wanted: Wanted) -> None:
    """In the transaction that stores it: a named connection stays. Raises BadInput, `details` [{path, message}]."""
    problems = [*_place(wanted), *_choice(wanted)]
    if problems:
        details = [{"path": path, "message": message} for path, message in problems]
        raise BadInput(details[0]["message"], hint="Correct the marked fields.", details=details)


def _place(wanted: Wanted) -> Iterable[tuple[str, str]]:
    if bool(wanted.url) == bool(wanted.connection):
        yield "url", "Give either an address or a connection."
    elif wanted.url:
        try:
            _URL.validate_python(wanted.url)
        except ValidationError as error:
            yield "url", error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    else:
        row = Connection.objects.select_for_update().filter(name=wanted.connection).first()
        if row is None or row.kind != "http":
            yield "connection", f"There is no http connection {wanted.connection}. Add it first."
            return
        try:
            join_url(row.settings["base_url"], wanted.path.strip())
        except ValueError as error:
            yield "path", str(error)
        if len(wanted.path) > 500:
            yield "path", "A path has 500 characters at most."


def _choice(wanted: Wanted) -> Iterable[tuple[str, str]]:
    bad = bad_patterns(wanted.types)
    if not wanted.types or bad:
        yield "types", f"No event has the type {bad[0]!r}." if bad else "Choose at least one type of event."
    for path, names in (("types", wanted.types), ("folders", wanted.folders), ("flows", wanted.flows)):
        if len(names) > MOST:
            yield path, f"{MOST} at most."
    if any(len(folder) > 200 or not folder.strip("/") for folder in wanted.folders):
        yield "folders", "A folder is a path such as payments/cards; leave the list empty for all folders."
    known = set(Flow.objects.filter(slug__in=wanted.flows[:MOST]).values_list("slug", flat=True))
    if missing := [slug for slug in wanted.flows[:MOST] if slug not in known]:
        yield "flows", f"There is no flow {missing[0]}."
