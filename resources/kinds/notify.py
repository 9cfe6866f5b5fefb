"""The settings of connections that carry messages: an e-mail server, and chat and push services. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from resources.connection_settings import ConnectionSettings, Network, Pem, SecretName
from resources.kinds.databases import Host

#: what may stand in an envelope and in a header as it is: no name, no quotes, no blanks, ASCII
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_TLS: dict[str, JsonValue] = {"starttls": "STARTTLS", "implicit": "from the first byte (465)", "off": "off"}


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text[:80]!a} is not one e-mail address such as ana@example.com")
    return text


def _one_line(text: str) -> str:
    if text and not text.isprintable():
        raise ValueError("Give one line, without control characters.")
    return text


class SmtpSettings(ConnectionSettings):
    """A server that takes e-mail. `password` is the name of a secret; empty: nobody signs in.

    `tls`: starttls and implicit check the server's certificate and name, with the authorities in `ca_certificates`
    (PEM) or, where that is empty, the public ones; `off` sends everything in clear, and never a password.
    """

    host: Host = Field(examples=["smtp.example.com"])
    port: int = Field(default=587, ge=1, le=65_535)
    username: Annotated[str, AfterValidator(_one_line)] = Field(default="", max_length=200, title="User name")
    password: Annotated[str, SecretName()] = Field(default="", max_length=64, title="Password")
    tls: Literal["starttls", "implicit", "off"] = Field(
        default="starttls", title="TLS", json_schema_extra={"labels": _TLS}
    )
    sender: Annotated[str, Field(max_length=320), AfterValidator(_address)] = Field(
        title="From", description="The address that messages come from.", examples=["orchestra@example.com"]
    )
    sender_name: Annotated[str, AfterValidator(_one_line)] = Field(default="", max_length=100, title="Name of sender")
    allow_networks: Annotated[tuple[Network, ...], Field(max_length=50)] = Field(
        default=(),
        title="Networks allowed though not public",
        description="One a line, such as 10.1.0.0/16. Empty: only public addresses are reached.",
    )
    ca_certificates: Pem = Field(
        default="",
        max_length=20_000,
        title="Certificate authorities",
        description="PEM. Trusted instead of the public ones; empty: the public ones.",
        json_schema_extra={"widget": "lines"},
    )

    @model_validator(mode="after")
    def _signs_in_safely(self) -> SmtpSettings:
        if bool(self.username) != bool(self.password):
            raise ValueError("A user name goes with a password, and a password with a user name.")
        if self.password and self.tls == "off":
            raise ValueError("A password is sent over TLS only; choose STARTTLS or TLS from the first byte.")
        if self.ca_certificates and self.tls == "off":
            raise ValueError("Certificate authorities are used with TLS only.")
        return self


class AppriseSettings(ConnectionSettings):
    """One place of a chat or push service, by its Apprise address, which is a secret as a whole."""

    url: Annotated[str, SecretName(), Field(min_length=1, max_length=64)] = Field(
        title="Address",
        description="The secret that holds the Apprise address, such as slack://… or ntfys://ntfy.example.com/topic.",
    )
    allow_networks: Annotated[tuple[Network, ...], Field(max_length=50)] = Field(
        default=(),
        title="Networks allowed though not public",
        description="One a line, such as 10.1.0.0/16. Empty: only public addresses are reached.",
    )
