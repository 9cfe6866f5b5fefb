"""What a webhook trigger may say: who may call, how a call is proven, what it starts, what it is answered. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from flows.definition.public_keys import read_public_key
from flows.steps.fields import Config, Duration, Name, Plain, Templated, TJson

Kind = Literal[
    "github", "gitlab", "stripe", "slack", "standard-webhooks", "hmac", "ecdsa", "bearer", "basic", "api_key", "none"
]
#: kinds whose sender signs the time, too
TIMED: Final = ("stripe", "slack", "standard-webhooks")
#: kinds that are also the name of their trigger, where it has none
_NAMED: Final = ("github", "gitlab", "stripe", "slack")
DEFAULT_TOLERANCE: Final = 300.0
MAX_TOLERANCE: Final = 86400.0
MAX_WAIT: Final = 60.0
_HOLE = re.compile(r"\{([^{}]*)\}")


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        said = f"{text[:60]!r} is no address or network; write 203.0.113.7 or 203.0.113.0/24 (no bits behind the /)"
        raise ValueError(said) from None
    return text


def _signed(text: str) -> str:
    holes = _HOLE.findall(text)
    unknown = [hole for hole in holes if hole not in ("body", "timestamp")]
    if unknown:
        raise ValueError(f"there is no {{{unknown[0][:30]}}}; there are {{body}} and {{timestamp}}")
    if holes.count("body") != 1 or holes.count("timestamp") > 1:
        raise ValueError("what is signed holds {body} once, and {timestamp} at most once")
    return text


def _key(text: str) -> str:
    read_public_key(text)
    return text


Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,79}$")]
Network = Annotated[Plain, AfterValidator(_network)]
Signed = Annotated[Plain, Field(max_length=200), AfterValidator(_signed)]
PublicKeyText = Annotated[Plain, AfterValidator(_key)]
Condition = Annotated[bool | str, Field(description="true, false, or one expression that gives such a value")]


class Signature(Config):
    """Where a signature stands, and over what it is made."""

    header: Header = Field(description="header with the signature")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="how the signature is written")
    prefix: Annotated[Plain, Field(max_length=40)] = Field(default="", description="stands before it: `sha256=`")
    signed: Signed = Field(default="{body}", description="what is signed: `{timestamp}.{body}`")
    timestamp: Header | None = Field(default=None, description="header with the time of sending")

    @model_validator(mode="after")
    def _times(self) -> Signature:
        if (self.timestamp is not None) != ("{timestamp}" in self.signed):
            raise ValueError("`timestamp` and `{timestamp}` in `signed` go together: a time that is not signed is void")
        return self


class HmacModel(Signature):
    """A signature with a shared secret."""

    algorithm: Literal["sha256", "sha512", "sha1"] = Field(default="sha256", description="hash of the HMAC")


class EcdsaModel(Signature):
    """A signature with a private key, P-256 (SHA-256) or Ed25519; the public key says which."""

    key: PublicKeyText | None = Field(default=None, description="the public key; else it is in `secret`")


class RespondModel(Config):
    """The call is answered with what the run gives."""

    wait: Annotated[Duration, Field(gt=0, le=MAX_WAIT)] = Field(
        default=10.0, description="how long a call waits for the run's end, 60s at most; then it is answered 202"
    )
    output: TJson = Field(default=None, description="the answer, over `run.output`; else the run's output")


class WebhookTrigger(Config):
    """POST /hooks/<flow>/<name> starts the flow."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] | None = Field(
        default=None, description="the last part of the address; else github, gitlab, stripe, slack or `webhook`"
    )
    verify: Kind = Field(description="how the sender proves who it is")
    secret: Name | None = Field(default=None, description="name of the secret that proves it")
    hmac: HmacModel | None = Field(default=None, description="for verify hmac: where the signature stands")
    ecdsa: EcdsaModel | None = Field(default=None, description="for verify ecdsa: where the signature stands")
    header: Header | None = Field(default=None, description="for verify api_key: the header; else X-API-Key")
    tolerance: Annotated[Duration, Field(gt=0, le=MAX_TOLERANCE)] | None = Field(
        default=None, description="how far a signed time may be off, 5m if nothing is said"
    )
    allow: Annotated[list[Network], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="addresses and networks that may call; else all"
    )
    if_: Condition = Field(default=True, alias="if", description="which calls start a run; others answer 202 ignored")
    dedupe: Annotated[str, Templated()] | None = Field(
        default=None, description="an id; a repeated one starts nothing. Kinds that sign a time or an id have one"
    )
    input: dict[str, TJson] | None = Field(default=None, description="the run's input; else the body")
    respond: RespondModel | None = Field(default=None, description="answer with the run's output")

    @model_validator(mode="after")
    def _fits(self) -> WebhookTrigger:
        problem = _misfit(self)
        if problem:
            raise ValueError(problem)
        return self

    @property
    def address(self) -> str:
        """The trigger's name in its address."""
        return self.name or (self.verify if self.verify in _NAMED else "webhook")

    @property
    def signature(self) -> Signature | None:
        return self.hmac or self.ecdsa

    @property
    def timed(self) -> bool:
        """Whether a delivery says when it was sent, provably."""
        return self.verify in TIMED or (self.signature is not None and self.signature.timestamp is not None)

    @property
    def skew(self) -> float:
        """Seconds that a signed time may be off."""
        return DEFAULT_TOLERANCE if self.tolerance is None else self.tolerance


def _misfit(hook: WebhookTrigger) -> str:
    """What does not go together, as a sentence; empty: nothing."""
    for kind, block in (("hmac", hook.hmac), ("ecdsa", hook.ecdsa)):
        if (hook.verify == kind) != (block is not None):
            return f"`{kind}: {{header: …}}` goes with verify {kind}, and only there"
    own_key = hook.ecdsa is not None and hook.ecdsa.key is not None
    if own_key and hook.secret is not None:
        return "the public key is either in `ecdsa.key` or in `secret`"
    if (hook.verify == "none" or own_key) != (hook.secret is None):
        return "`secret` names what proves the sender; every kind needs it but none (and ecdsa with a `key`)"
    if hook.header is not None and hook.verify != "api_key":
        return "`header` is for verify api_key"
    if hook.tolerance is not None and not hook.timed:
        return "`tolerance` is for kinds that sign a time: stripe, slack, standard-webhooks, or a `timestamp` header"
    return ""


def hook_of(config: Mapping[str, Any]) -> WebhookTrigger:
    """The model of a trigger's config in a plan. It was checked when the plan was made."""
    return WebhookTrigger.model_validate(dict(config))
