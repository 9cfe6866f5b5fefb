"""The settings of an ssh connection. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from resources.connection_settings import ConnectionSettings, Network, SecretName

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_KEY_TYPE = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]{2,60}")


def _host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError("Give the name or the address of a host, without a user and a port.")
    return host


def _user(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError("A user name is one line, without blanks around it.")
    return name


def is_fingerprint(line: str) -> bool:
    return _FINGERPRINT.fullmatch(line) is not None


def key_of(line: str) -> tuple[str, str]:
    """(hosts or "", "type base64") of a line of known_hosts or of a bare public key. Raises ValueError."""
    words = line.split()
    hosts = ""
    if words and words[0] == "@revoked":
        hosts, words = "@revoked ", words[1:]
    if words and not _KEY_TYPE.fullmatch(words[0]):
        hosts, words = hosts + words[0], words[1:]
    if len(words) < 2 or not _KEY_TYPE.fullmatch(words[0]) or not _is_blob(words[0], words[1]):
        raise ValueError(f"“{line[:60]}” is neither a line of known_hosts nor a fingerprint such as SHA256:….")
    return hosts, f"{words[0]} {words[1]}"


def _is_blob(kind: str, text: str) -> bool:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return data[4 : 4 + int.from_bytes(data[:4], "big")] == kind.encode()


def known_lines(text: str) -> list[str]:
    """Without comments and empty lines."""
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _known_hosts(text: str) -> str:
    for line in known_lines(text):
        if line.startswith("@cert-authority"):
            raise ValueError("Certificate authorities are not supported; list the host's own key.")
        if not is_fingerprint(line):
            key_of(line)
    return text


class SshSettings(ConnectionSettings):
    """A server and an account on it. Its host key is checked always: without `known_hosts` nothing is sent.

    `key_secret`, `passphrase_secret`, `password_secret`: names of secrets; the private key is in OpenSSH or PEM format.
    `connect_timeout`: seconds until the server must have let us in; `keepalive`: seconds between two signs of life.
    """

    host: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=253), AfterValidator(_host)]
    port: int = Field(default=22, ge=1, le=65535)
    username: Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_user)] = Field(
        title="User name"
    )
    key_secret: Annotated[str, SecretName()] = Field(default="", max_length=64, title="Private key")
    passphrase_secret: Annotated[str, SecretName()] = Field(default="", max_length=64, title="Passphrase of the key")
    password_secret: Annotated[str, SecretName()] = Field(default="", max_length=64, title="Password")
    known_hosts: Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_known_hosts)] = Field(
        default="",
        title="Known hosts",
        description="Lines of known_hosts, or fingerprints such as SHA256:…. The test button shows the line to check.",
        json_schema_extra={"widget": "lines"},
    )
    allow_networks: Annotated[tuple[Network, ...], Field(max_length=50)] = Field(
        default=(),
        title="Networks allowed though not public",
        description="One a line, such as 10.1.0.0/16. Empty: only public addresses are reached.",
    )
    connect_timeout: float = Field(default=10.0, ge=1, le=60, title="Seconds to get in")
    keepalive: float = Field(default=15.0, ge=1, le=300, title="Seconds between two signs of life")

    @model_validator(mode="after")
    def _shows_who_it_is(self) -> SshSettings:
        if not self.key_secret and not self.password_secret:
            raise ValueError("Choose the secret that holds the private key, or the one that holds the password.")
        if self.passphrase_secret and not self.key_secret:
            raise ValueError("A passphrase goes with a private key.")
        return self
