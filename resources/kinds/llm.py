"""A connection to language models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from resources.connection_settings import (
    ApiKeyAuth,
    BaseUrl,
    BearerAuth,
    ConnectionSettings,
    HeaderValue,
    HttpSettings,
    Network,
    NoAuth,
    Pem,
    PlainHeader,
    SecretName,
)

ADDRESSES: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
}
#: of the Messages API that the adapter speaks
ANTHROPIC_VERSION: Final = "2023-06-01"


_BASE_URL: Final = TypeAdapter(BaseUrl)


def _address(text: str) -> str:
    return _BASE_URL.validate_python(text) if text.strip() else ""


class Price(BaseModel):
    """US dollars for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, le=100_000)
    output: float = Field(ge=0, le=100_000)


class LlmSettings(ConnectionSettings):
    """`prices`: model -> Price; the cost of a model that is not in it is not known, and counts as nothing."""

    provider: Literal["openai", "anthropic"] = Field(
        default="openai",
        json_schema_extra={"labels": {"openai": "OpenAI, or compatible with it", "anthropic": "Anthropic"}},
        description="The protocol it speaks. Most local servers are compatible with OpenAI.",
    )
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        default="", title="Address", description="Empty: the provider's own.", examples=["http://10.1.2.3:8080/v1"]
    )
    key: Annotated[str, SecretName()] = Field(
        default="", max_length=64, title="API key", description="The secret that holds it. Empty: none is sent."
    )
    model: str = Field(default="", max_length=200, title="Model", description="Where a step names none.")
    prices: Annotated[dict[str, Price], Field(max_length=100)] = Field(
        default={},
        title="Prices",
        description='US dollars for a million tokens, by model: {"small": {"input": 0.25, "output": 1.25}}.',
    )
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

    @property
    def address(self) -> str:
        return self.base_url or ADDRESSES[self.provider]

    def as_http(self) -> HttpSettings:
        """How its requests are sent."""
        headers = dict(self.headers)
        auth: BearerAuth | ApiKeyAuth | NoAuth = NoAuth()
        if self.provider == "anthropic":
            headers = {"anthropic-version": ANTHROPIC_VERSION, **headers}
        if self.key and self.provider == "anthropic":
            auth = ApiKeyAuth(type="api_key", header="x-api-key", secret=self.key)
        elif self.key:
            auth = BearerAuth(type="bearer", secret=self.key)
        return HttpSettings(
            base_url=self.address,
            auth=auth,
            headers=headers,
            allow_networks=self.allow_networks,
            ca_certificates=self.ca_certificates,
        )

    def cost(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """US dollars; 0 where the price is not known."""
        price = self.prices.get(model)
        if price is None:
            return 0.0
        return (input_tokens * price.input + output_tokens * price.output) / 1_000_000
