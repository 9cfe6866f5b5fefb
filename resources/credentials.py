"""What has no place in the plain headers of a connection, since everybody with a role reads them. Pure.

Looked at when a connection is saved, never when it is used: one that was saved before goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from resources.connection_settings import ApiKeyAuth, ConnectionSettings, HmacAuth, HttpSettings
from resources.kinds.llm import LlmSettings

#: (where it is in the settings, a sentence)
Objection = tuple[str, str]
_NAME = re.compile(
    r"""(?:^|[-_.]) (?: authorization | cookie2? | auth | jwt | (?:pass|pwd|password|passwd|passphrase) | credentials?
    | (?:secret|token|session)(?:[-_.]?id)? | (?:api|access|auth|app|application|client|functions?|private|secret
    |subscription|master|license)?[-_.]?key )$""",
    re.VERBOSE | re.IGNORECASE,
)
_VALUE = re.compile(
    r"""^\s*(?:bearer|basic|digest|token|apikey|negotiate|aws4-hmac-sha256)\s+\S{4}
    | \b(?:gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|sk-|sk_live_|sk_test_|AKIA|ASIA|AIza)[A-Za-z0-9_-]{12}
    | \beyJ[A-Za-z0-9_-]{10,}\.eyJ | ://[^\s/:@]+:[^\s/@]+@""",
    re.VERBOSE | re.IGNORECASE,
)
#: what a header with such a name says that is no credential
_HARMLESS = re.compile(r"no-?check|true|false|none|\d{1,3}", re.IGNORECASE)
#: what belongs to one connection between two machines, or is said of the body by the program
_NOT_A_KEY = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "idempotency-key", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "via",
})  # fmt: skip


def objections(settings: ConnectionSettings) -> Iterator[Objection]:
    """What is wrong with it as a new one."""
    headers = settings.headers if isinstance(settings, HttpSettings | LlmSettings) else {}
    for name, value in headers.items():
        if is_credential(name, value):
            yield (
                f"headers.{name}",
                f"The header {name} looks like a credential, and everybody with a role reads it here. Keep the value "
                f"as a secret and {_instead(settings, name)}.",
            )
    if isinstance(settings, HttpSettings):
        yield from _of_auth(settings)


def _instead(settings: ConnectionSettings, header: str) -> str:
    if isinstance(settings, LlmSettings):
        return "name that under “API key” (`key`)"
    kind = "`bearer` or `basic`" if header.lower() == "authorization" else f"`api_key` with the header {header}"
    return f"name that under “Sends” (`auth`), with the type {kind}"


def _of_auth(settings: HttpSettings) -> Iterator[Objection]:
    match settings.auth:
        case ApiKeyAuth(header=name):
            names = {"header": name}
        case HmacAuth() as auth:
            names = {"header": auth.header, "timestamp_header": auth.timestamp_header}
        case _:
            return
    for field, name in names.items():
        if name.lower() in _NOT_A_KEY:
            yield f"auth.{field}", f"The header {name} is set by the program itself and carries no key. Name another."


def is_credential(name: str, value: str) -> bool:
    """Does a header seem to carry one?"""
    if _HARMLESS.fullmatch(value.strip()):
        return False
    return bool(_NAME.search(name) or _VALUE.search(value))
