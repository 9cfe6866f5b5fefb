"""One exchange with Vault: bounded in time and size, every way in which it can fail said in a sentence."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from resources.backends.errors import Refused, Unreachable
from resources.errors import OrchestraError

MAX_BYTES: Final = 1024 * 1024
_MAX_FILE: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """`path` behind /v1/, quoted; `timeout`: seconds in all; `ca_file`: PEM, or "" for the public authorities."""

    address: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, str] | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    ca_file: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Mapping[str, Any] = field(repr=False)

    @property
    def said(self) -> str:
        """Vault's own first error as " (…)", bounded; "" where there is none."""
        errors = self.body.get("errors")
        text = str(errors[0]) if isinstance(errors, list) and errors else ""
        text = "".join(c if c.isprintable() else " " for c in text[:200]).strip()
        return f" ({text})" if text else ""


def read_file(name: str, setting: str) -> str:
    """What an agent wrote. Raises Refused."""
    try:
        text = Path(name).read_text(errors="strict")[:_MAX_FILE].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Refused(f"{setting} cannot be read: {reason}.", hint=f"Look at {name}.") from None
    if not text or not text.isascii() or not text.isprintable():
        raise Refused(f"{setting} holds no token.", hint=f"Look at {name}.")
    return text


def exchange(asked: Asked) -> Answer:
    """200, 400, 403 or 404 with its JSON. Raises Unreachable, Refused."""
    from resources import http_client  # it asks for secrets itself

    # whoever runs the host named this address: it may be a private one
    everywhere = ("0.0.0.0/0", "::/0")
    client = http_client.guarded_client(everywhere, dict(asked.headers), _tls(asked.ca_file))
    try:
        with client:
            url = f"{asked.address.rstrip('/')}/v1/{asked.path}"
            request = client.build_request(asked.method, url, params=dict(asked.query), json=asked.body)
            answer = http_client.fetch(client, request, timeout=asked.timeout, max_bytes=MAX_BYTES)
    except httpx2.TimeoutException:
        raise Unreachable(f"Vault did not answer within {asked.timeout:g} s.", hint="Look at VAULT_ADDR.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OrchestraError, ValueError) as error:
        kind = type(error).__name__
        raise Unreachable(f"Vault was not reached at {asked.address}: {kind}.", hint="Look at VAULT_ADDR.") from None
    return _judged(asked, answer, url)


def _tls(ca_file: str) -> ssl.SSLContext | None:
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else None
    except (OSError, ssl.SSLError):
        raise Refused(f"VAULT_CACERT is no file of certificates: {ca_file}.") from None


def _judged(asked: Asked, answer: Any, url: str) -> Answer:
    if 300 <= answer.status < 400 or httpx2.URL(answer.url).host != httpx2.URL(url).host:
        raise Refused(
            "Vault sends us to another node.", hint="Set VAULT_ADDR to the active one, or to what stands before them."
        )
    read = Answer(answer.status, _json(answer.body))
    if answer.status == 503 and "sealed" in read.said:
        raise Unreachable("Vault is sealed.", hint="Somebody has to unseal it.")
    if answer.status == 429 or answer.status >= 472:
        raise Unreachable(f"Vault answered {answer.status}{read.said}.", hint="Look at Vault's own state.")
    if answer.status not in (200, 400, 403, 404):
        raise Refused(f"Vault answered {answer.status}{read.said}.", hint="Look at VAULT_ADDR.")
    return read


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
