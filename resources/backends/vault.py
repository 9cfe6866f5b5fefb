"""HashiCorp Vault, KV version 2: one field of one secret, read when it is needed and kept in memory for seconds.

Signs in with a token (VAULT_TOKEN, or VAULT_TOKEN_FILE, read anew each time, as an agent renews it) or by AppRole,
whose token is fetched anew before its lease ends.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from django.conf import settings

from resources.backends.errors import Refused, Unreachable
from resources.backends.locators import VaultLocator
from resources.backends.vault_http import Answer, Asked, exchange, read_file

#: values kept in memory at most
MAX_CACHED: Final = 256


@dataclass(frozen=True, slots=True)
class Config:
    """Of settings.VAULT; what is secret is not in its repr."""

    address: str
    token: str = field(default="", repr=False)
    token_file: str = ""
    role_id: str = field(default="", repr=False)
    secret_id: str = field(default="", repr=False)
    secret_id_file: str = ""
    approle_mount: str = "approle"
    namespace: str = ""
    ca_file: str = ""
    timeout: float = 5.0
    cache_seconds: float = 30.0


@dataclass(slots=True)
class _Memory:
    """Of this process. Times are of time.monotonic()."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    values: dict[tuple[Config, str], tuple[str, float]] = field(default_factory=dict)
    tokens: dict[Config, tuple[str, float]] = field(default_factory=dict)


_memory = _Memory()


def forget() -> None:
    """Values and tokens in memory."""
    with _memory.lock:
        _memory.values.clear()
        _memory.tokens.clear()


def read(locator: VaultLocator) -> str:
    """The field's text. Raises Unreachable, Refused."""
    config = Config(**settings.VAULT)
    if not config.address:
        raise Refused("Vault is not set up.", hint="Set VAULT_ADDR and how to sign in; see the operations page.")
    key, now = (config, locator.model_dump_json()), time.monotonic()
    with _memory.lock:
        known = _memory.values.get(key)
    if known is not None and now < known[1]:
        return known[0]
    value = _fetched(config, locator)
    with _memory.lock:
        _memory.values.pop(key, None)
        while len(_memory.values) >= MAX_CACHED:
            _memory.values.pop(next(iter(_memory.values)))
        _memory.values[key] = (value, now + config.cache_seconds)
    return value


def _fetched(config: Config, locator: VaultLocator) -> str:
    path = f"{quote(locator.mount)}/data/{quote(locator.path)}"
    where = f"{locator.mount}/{locator.path}" + (f", version {locator.version}" if locator.version else "")
    answer = _asked(config, path, locator.version)
    if answer.status == 403 and _by_role(config):
        with _memory.lock:  # the token was revoked, or its role changed: once more with a new one
            _memory.tokens.pop(config, None)
        answer = _asked(config, path, locator.version)
    return _value_in(answer, locator, where)


def _asked(config: Config, path: str, version: int | None) -> Answer:
    query = {"version": str(version)} if version else {}
    return exchange(Asked(config.address, "GET", path, query, None, _headers(config), config.timeout, config.ca_file))


def _headers(config: Config) -> dict[str, str]:
    return {"x-vault-token": _token(config), **_common(config)}


def _common(config: Config) -> dict[str, str]:
    return {"x-vault-request": "true", **({"x-vault-namespace": config.namespace} if config.namespace else {})}


def _by_role(config: Config) -> bool:
    return not config.token and not config.token_file


def _token(config: Config) -> str:
    if config.token_file:
        return read_file(config.token_file, "VAULT_TOKEN_FILE")
    if config.token:
        return config.token
    if not config.role_id:
        raise Refused(
            "Nothing says how to sign in to Vault.", hint="Set VAULT_TOKEN_FILE, VAULT_TOKEN or VAULT_ROLE_ID."
        )
    now = time.monotonic()
    with _memory.lock:
        token, until = _memory.tokens.get(config, ("", 0.0))
    if token and now < until:
        return token
    token, lease = _signed_in(config)
    with _memory.lock:
        # nine tenths of its lease; one without an end is fetched anew every hour
        _memory.tokens[config] = (token, now + (lease * 0.9 if lease else 3600.0))
    return token


def _signed_in(config: Config) -> tuple[str, float]:
    """(token, seconds of its lease; 0: it does not end)."""
    secret_id = config.secret_id
    if config.secret_id_file:
        secret_id = read_file(config.secret_id_file, "VAULT_SECRET_ID_FILE")
    body = {"role_id": config.role_id, **({"secret_id": secret_id} if secret_id else {})}
    path = f"auth/{quote(config.approle_mount.strip('/'))}/login"
    asked = Asked(config.address, "POST", path, {}, body, _common(config), config.timeout, config.ca_file)
    answer = exchange(asked)
    auth = answer.body.get("auth")
    if answer.status != 200 or not isinstance(auth, Mapping) or not isinstance(auth.get("client_token"), str):
        raise Refused(
            f"Vault does not let us sign in by AppRole ({answer.status}){answer.said}.",
            hint="Look at VAULT_ROLE_ID and VAULT_SECRET_ID; a secret id may have ended.",
        )
    lease = auth.get("lease_duration")
    return auth["client_token"], float(lease) if isinstance(lease, int) and lease > 0 else 0.0


def _value_in(answer: Answer, locator: VaultLocator, where: str) -> str:
    if answer.status == 403:
        raise Refused(
            f"Vault does not let us read {where}.",
            hint=f'The policy needs path "{locator.mount}/data/{locator.path}" {{ capabilities = ["read"] }}.',
        )
    outer = answer.body.get("data")
    outer = outer if isinstance(outer, Mapping) else {}
    metadata = outer.get("metadata")
    if answer.status == 404:
        raise _nothing_there(metadata if isinstance(metadata, Mapping) else {}, where)
    data = outer.get("data")
    if answer.status != 200 or not isinstance(data, Mapping):
        raise Refused(
            f"Vault answered {answer.status} for {where}{answer.said}; this is no KV version 2 engine's answer.",
            hint="Look at the mount: it must be of KV version 2.",
        )
    return _text_of(data, locator.field, where)


def _nothing_there(metadata: Mapping[str, Any], where: str) -> Refused:
    if metadata.get("destroyed") is True:
        return Refused(f"Vault has {where} no more: it was destroyed.", hint="Write a new version there.")
    if metadata.get("deletion_time"):
        return Refused(f"In Vault, {where} is deleted.", hint="Undelete it, or write a new version there.")
    return Refused(f"Vault has nothing at {where}.", hint="Look at mount, path and namespace.")


def _text_of(data: Mapping[str, Any], name: str, where: str) -> str:
    if name not in data:
        raise Refused(f"{where} in Vault has no field {name}.", hint="Name one of its fields.")
    value = data[name]
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if not isinstance(value, str):
        raise Refused(f"The field {name} of {where} in Vault is no text.", hint="Name a field with text.")
    return value


__all__ = ["Config", "Unreachable", "forget", "read"]
