"""The settings of connections to databases. Pure."""

from __future__ import annotations

import re
import ssl
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from resources.connection_settings import ConnectionSettings, Network, SecretName

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

Tls = Literal["verify-full", "require", "prefer", "off"]
_TLS: dict[str, JsonValue] = {
    "verify-full": "required, server checked",
    "require": "required, server not checked",
    "prefer": "where the server can",
    "off": "off",
}


def _host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError("Give the name or the address of one host, without a port.")
    return host


def _plain(text: str) -> str:
    if not text.isprintable() or "://" in text or "=" in text:
        raise ValueError("Give a plain name: no control characters, no = and no ://.")
    return text


def _pem(text: str) -> str:
    if text.strip():
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError("This is no certificate in PEM form (-----BEGIN CERTIFICATE-----).") from error
    return text


def _file(name: str) -> str:
    if not _FILE.fullmatch(name) or ".." in name:
        raise ValueError("Give the path of a file inside the folder databases, such as shop.sqlite3; no .. and no /.")
    return name


Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_host)]
Named = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain)]
Pem = Annotated[str, Field(max_length=65_536, json_schema_extra={"widget": "lines"}), AfterValidator(_pem)]
Secret = Annotated[str, SecretName(), Field(max_length=64)]


class ServerSettings(ConnectionSettings):
    """A database server. `secret` is the name of the secret that holds the password; empty: no password.

    `tls`: verify-full checks the server's certificate and its name, with the authorities in `ca` (PEM) or, where that
    is empty, the public ones; require encrypts and checks nothing; prefer encrypts where the server can.
    `allow_networks`: networks that are not public and may be reached nevertheless, such as 10.1.0.0/16.
    """

    host: Host = Field(examples=["db.example.com"])
    port: int = Field(ge=1, le=65_535)
    database: Named = Field(examples=["shop"])
    username: Named = Field(title="User name", description="Use an account that may do no more than the steps need.")
    secret: Secret = Field(default="", title="Password")
    tls: Tls = Field(
        default="verify-full",
        title="TLS",
        json_schema_extra={"labels": _TLS},
        description="Only a checked server is the one you mean; the others can be somebody in between.",
    )
    ca: Pem = Field(
        default="",
        title="Certificate authorities",
        description="PEM. Trusted instead of the public ones; empty: the public ones.",
    )
    allow_networks: Annotated[tuple[Network, ...], Field(max_length=50)] = Field(
        default=(),
        title="Networks allowed though not public",
        description="One a line, such as 10.1.0.0/16. Empty: only public addresses are reached.",
    )

    @model_validator(mode="after")
    def _ca_is_used(self) -> ServerSettings:
        if self.ca.strip() and self.tls != "verify-full":
            raise ValueError("A certificate authority is used only with tls: verify-full.")
        return self


class PostgresSettings(ServerSettings):
    """`application_name` is what the server lists this connection as."""

    port: int = Field(default=5432, ge=1, le=65_535)
    application_name: Annotated[str, AfterValidator(_plain)] = Field(
        default="orchestra", max_length=63, description="What the server lists this connection as."
    )


class MysqlSettings(ServerSettings):
    """MySQL or MariaDB."""

    port: int = Field(default=3306, ge=1, le=65_535)


class SqliteSettings(ConnectionSettings):
    """`file`: a path inside the folder `databases` of the data directory; the file must be there."""

    file: Annotated[str, AfterValidator(_file)] = Field(
        min_length=1,
        max_length=200,
        examples=["shop.sqlite3"],
        description="Inside the folder databases of the data directory, where an administrator has put it.",
    )


DatabaseSettings = PostgresSettings | MysqlSettings | SqliteSettings
