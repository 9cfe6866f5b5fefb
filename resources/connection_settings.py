"""The settings of each kind of connection, as pydantic models. Pure: no Django, no I/O."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from resources.limits.config import Limits

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
#: set by the program, or a place for secrets: both have a setting of their own
_RESERVED = {
    "authorization", "connection", "content-length", "cookie", "expect", "host", "idempotency-key",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip


def _header_name(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"“{name}” is not a header name.")
    return name


def _plain_header(name: str) -> str:
    if _header_name(name).lower() in _RESERVED:
        raise ValueError(f"The header {name} cannot be set here; credentials belong into a secret.")
    return name


def _header_value(value: str) -> str:
    if len(value) > 2000 or not value.isascii() or not value.isprintable():
        raise ValueError("A header value is one line of printable ASCII, at most 2,000 characters.")
    return value


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError as error:
        raise ValueError("This is not an address.") from error
    return parts


def _base_url(url: str) -> str:
    parts = _split(url)
    host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ValueError("Give an address that begins with https:// or http:// and names a host.")
    if "@" in parts.netloc:
        raise ValueError("Leave user and password out of the address; use a secret.")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("Leave out everything from ? or # on.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("The address has characters that must be percent-encoded.")
    return url.rstrip("/")


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        why = " It names one address of a network, not the network." if "host bits" in str(error) else ""
        raise ValueError(f"“{text}” is not a network such as 10.1.0.0/16.{why}") from error


def _certificates(text: str) -> str:
    if not text.strip():
        return ""
    if "PRIVATE KEY" in text:
        raise ValueError("This holds a private key, which belongs into a secret; only certificates go here.")
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("These are not certificates in PEM form (-----BEGIN CERTIFICATE-----).") from error
    return text.strip() + "\n"


BaseUrl = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(_base_url)]
Network = Annotated[str, AfterValidator(_network)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
PlainHeader = Annotated[str, AfterValidator(_plain_header)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
#: the beginning of a header value; "" is one, too
HeaderPart = Annotated[str, AfterValidator(lambda text: _header_value(text) if text else text)]
Pem = Annotated[str, AfterValidator(_certificates)]


class SecretName:
    """Marks a field that holds the name of a secret: `Annotated[str, SecretName()]`. Forms offer those there are."""

    @staticmethod
    def marked(metadata: Sequence[object]) -> bool:
        return any(isinstance(mark, SecretName) for mark in metadata)


SecretRef = Annotated[str, SecretName(), Field(min_length=1, max_length=64, title="Secret")]


class _Auth(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _username(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("Basic authentication needs a user name, without a colon.")
    return name


def _plain_text(text: str) -> str:
    if not text.isascii() or (text and not text.isprintable()):
        raise ValueError("Use printable ASCII, in one line.")
    return text


class NoAuth(_Auth):
    model_config = ConfigDict(title="Nothing")

    type: Literal["none"] = "none"


class BearerAuth(_Auth):
    model_config = ConfigDict(title="Bearer token")

    type: Literal["bearer"]
    secret: SecretRef


class BasicAuth(_Auth):
    model_config = ConfigDict(title="User name and password")

    type: Literal["basic"]
    username: Annotated[str, AfterValidator(_username)] = Field(max_length=200, title="User name")
    secret: SecretRef


class ApiKeyAuth(_Auth):
    model_config = ConfigDict(title="Key in a header of its own")

    type: Literal["api_key"]
    header: HeaderName = Field(default="X-Api-Key", description="The header that carries the key.")
    secret: SecretRef

    @model_validator(mode="before")
    @classmethod
    def _no_query(cls, data: Any) -> Any:
        if isinstance(data, dict) and ("query" in data or data.get("in") == "query"):
            raise ValueError("A key in the address ends in the logs of everything on the way; send it in a header.")
        return data


class HmacAuth(_Auth):
    """A signature over each request, so that the secret itself is never sent."""

    model_config = ConfigDict(title="HMAC signature of the request")

    type: Literal["hmac"]
    secret: SecretRef
    header: HeaderName = Field(default="X-Signature", title="Header", description="The header that carries it.")
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    signs: Literal["body", "timestamp_body", "request"] = Field(
        default="timestamp_body",
        json_schema_extra={
            "labels": {
                "body": "the body",
                "timestamp_body": "timestamp.body",
                "request": "method, path with query, timestamp and body, one a line",
            }
        },
        description="What is signed. Without the timestamp, whoever sees a request can send it again.",
    )
    timestamp_header: HeaderName = Field(default="X-Timestamp", description="Carries the time in seconds since 1970.")
    encoding: Literal["hex", "base64"] = "hex"
    prefix: HeaderPart = Field(default="", description="Before the signature, such as sha256=.", max_length=40)


class OAuth2Auth(_Auth):
    """Client credentials: a token is asked for, kept until shortly before it expires, and renewed."""

    model_config = ConfigDict(title="OAuth 2 client credentials")

    type: Literal["oauth2"]
    token_url: BaseUrl = Field(title="Token address", examples=["https://login.example.com/oauth/token"])
    client_id: Annotated[str, AfterValidator(_plain_text)] = Field(min_length=1, max_length=300, title="Client ID")
    secret: SecretRef = Field(title="Client secret")
    scope: Annotated[str, AfterValidator(_plain_text)] = Field(default="", max_length=1000)
    audience: Annotated[str, AfterValidator(_plain_text)] = Field(default="", max_length=500)
    auth_style: Literal["basic", "post"] = Field(
        default="basic",
        title="Client shows itself",
        json_schema_extra={"labels": {"basic": "in a header (basic)", "post": "in the body (post)"}},
    )


#: what the one shape of earlier versions always had; dropped where the type does not have it
_EARLIER = {
    "none": {"secret", "username", "header"}, "bearer": {"username", "header"}, "basic": {"header"},
    "api_key": {"username"},
}  # fmt: skip


def _as_now(auth: object) -> object:
    if not isinstance(auth, dict):
        return auth
    kind = auth.get("type", "none")
    drop = _EARLIER.get(kind, set()) if isinstance(kind, str) else set()
    return {"type": kind, **{key: value for key, value in auth.items() if key not in drop}}


#: how requests show who sends them; `secret` is always the name of a secret
HttpAuth = Annotated[
    Annotated[NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | HmacAuth | OAuth2Auth, Field(discriminator="type")],
    BeforeValidator(_as_now),
]


class ConnectionSettings(BaseModel):
    """What every kind of connection has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: Limits | None = None


class HttpSettings(ConnectionSettings):
    """`allow_networks`: networks that are not public and may be reached nevertheless, such as 10.1.0.0/16.

    `honours_idempotency_key`: the other side applies a repeated Idempotency-Key once, so that an attempt whose outcome
    is unknown may be repeated.
    """

    base_url: BaseUrl = Field(title="Address", examples=["https://api.example.com/v1"])
    auth: HttpAuth = Field(default=NoAuth(), title="Sends")
    headers: Annotated[dict[PlainHeader, HeaderValue], Field(max_length=50)] = Field(
        default={}, title="Other headers", description="One a line, as Name: value."
    )
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
    client_certificate: Pem = Field(
        default="",
        max_length=20_000,
        title="Client certificate",
        description="PEM, its own first. Shown to a server that asks who comes; empty: none.",
        json_schema_extra={"widget": "lines"},
    )
    client_key: Annotated[str, SecretName()] = Field(
        default="",
        max_length=64,
        title="Key of the client certificate",
        description="The secret that holds it: a private key in PEM form, without a passphrase.",
    )
    honours_idempotency_key: bool = Field(
        default=False,
        title="It applies a repeated Idempotency-Key once",
        description="Then an attempt whose outcome is unknown may be repeated.",
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> HttpSettings:
        if bool(self.client_certificate) != bool(self.client_key):
            raise ValueError("A client certificate and the secret with its key go together: give both, or neither.")
        return self


def join_url(base_url: str, path: str) -> str:
    """`path` below `base_url`, which it cannot leave. Raises ValueError for anything else, with a sentence."""
    if not path:
        return base_url
    plain = path.partition("?")[0]
    if "\\" in path or not path.isprintable() or "#" in path:
        raise ValueError("The path has a character that does not belong into an address.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", plain) or plain.startswith("//"):
        raise ValueError("Give a path below the connection's address, not a whole address.")
    decoded = re.sub(r"%2e", ".", plain, flags=re.IGNORECASE)
    if any(part in (".", "..") for part in decoded.split("/")):
        raise ValueError("The path may not go up with “..”.")
    return f"{base_url}/{path.removeprefix('/')}" if not path.startswith("?") else base_url + path
