"""A kind's form: made of its settings' model, whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from resources import connections, kinds, secrets
from resources.access import Actor
from resources.connection_settings import ConnectionSettings, SecretName
from resources.errors import BadInput
from resources.kindfields import flat, nested, spots
from resources.kindform import KindForm
from resources.kinds import Kind, secrets_of

Secret = Annotated[str, SecretName()]


class Key(BaseModel):
    model_config = ConfigDict(title="A key")

    type: Literal["key"]
    secret: Secret
    passphrase: Secret | None = None


class Password(BaseModel):
    model_config = ConfigDict(title="A password")

    type: Literal["password"]
    user: str = "root"
    secret: Secret


class Jump(BaseModel):
    host: str
    port: int = 22


class Everything(ConnectionSettings):
    host: str = Field(title="Host name", examples=["db.example.com"])
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    ratio: float = 0.5
    checked: bool = True
    mode: Literal["fast", "safe"] = Field("safe", json_schema_extra={"labels": {"fast": "Fast, and unsafe"}})
    known_hosts: str = Field("", json_schema_extra={"widget": "lines"})
    names: tuple[str, ...] = ()
    extra: dict[str, str] = {}
    places: tuple[Jump, ...] = ()
    token: Secret | None = None
    backups: tuple[Secret, ...] = ()
    jump: Jump | None = None
    auth: Annotated[Key | Password, Field(discriminator="type")]


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    kind = Kind("everything", "Everything", "All there is.", Everything, "resources.probe:http")
    monkeypatch.setattr(kinds, "KINDS", {**kinds.KINDS, "everything": kind})
    monkeypatch.setattr("resources.kindform.KINDS", kinds.KINDS)
    monkeypatch.setattr(connections, "KINDS", kinds.KINDS)
    yield "everything"


def test_every_field_of_the_model_has_its_field_and_limits_have_none() -> None:
    assert {spot.name: spot.shape for spot in spots(Everything)} == {
        "host": "text", "port": "whole", "ratio": "number", "checked": "check", "mode": "choice", "known_hosts": "area",
        "names": "lines", "extra": "pairs", "places": "json", "token": "secret", "backups": "lines",
        "jump-host": "text", "jump-port": "whole", "auth-type": "choice", "auth-secret": "secret",
        "auth-passphrase": "secret", "auth-user": "text",
    }  # fmt: skip


def test_shapes_to_choose_from_share_their_fields_and_say_when_each_matters() -> None:
    by_name = {spot.name: spot for spot in spots(Everything)}
    assert by_name["auth-type"].choices == (("key", "A key"), ("password", "A password"))
    assert (by_name["auth-secret"].when, by_name["auth-secret"].only) == ("auth-type", ("key", "password"))
    assert by_name["auth-user"].only == ("password",)
    assert by_name["auth-user"].words == ("A password",)


FULL: dict[str, Any] = {
    "host": "h", "port": 2222, "ratio": 0.25, "checked": False, "mode": "fast", "known_hosts": "h ssh-ed25519 AAAA\n",
    "names": ["a", "b"], "extra": {"k": "v: w"}, "places": [{"host": "x", "port": 1}], "token": "t", "backups": ["b"],
    "jump": {"host": "j", "port": 2}, "auth": {"type": "password", "user": "me", "secret": "s"},
}  # fmt: skip


def posted(form: KindForm) -> dict[str, str]:
    """What a browser sends of the form as it is shown."""
    data: dict[str, str] = {}
    for bound in form:
        value = bound.value()
        if bound.field.widget.input_type == "checkbox" if hasattr(bound.field.widget, "input_type") else False:
            data |= {bound.name: "on"} if value else {}
        else:
            data[bound.name] = "" if value is None else str(bound.field.prepare_value(value))
    return data


@pytest.mark.django_db
def test_what_a_form_shows_comes_back_the_same(everything: str, admin: Actor) -> None:
    for name in ("t", "s", "b"):
        secrets.set_secret(actor=admin, name=name, value="hidden-value-1234")
    settings = Everything.model_validate(FULL)
    shown = KindForm(everything, fixed="x", initial=KindForm.initial_of(settings))
    form = KindForm(everything, posted(shown), fixed="x")
    assert form.is_valid(), form.errors
    assert Everything.model_validate(form.settings()) == settings


@pytest.mark.django_db
def test_what_is_left_empty_takes_its_default(everything: str, admin: Actor) -> None:
    secrets.set_secret(actor=admin, name="s", value="hidden-value-1234")
    data = {"host": "h", "mode": "safe", "auth-type": "key", "auth-secret": "s", "auth-user": "left over"}
    form = KindForm(everything, data, fixed="x")
    assert form.is_valid(), form.errors
    made = Everything.model_validate(form.settings())
    assert (made.port, made.ratio, made.jump, made.checked) == (22, 0.5, None, False)
    assert made.auth == Key(type="key", secret="s")


@pytest.mark.django_db
def test_a_mistake_within_a_chosen_shape_is_shown_at_its_field(everything: str, admin: Actor) -> None:
    with pytest.raises(BadInput) as caught:
        connections.parse_settings(everything, {**FULL, "auth": {"type": "key"}, "jump": {"host": "x", "port": "no"}})
    assert [d["path"] for d in caught.value.details] == ["jump.port", "auth.secret"]
    form = KindForm(everything, {"auth-type": "key"})
    form.is_valid()
    form.show(caught.value)
    assert {"jump-port", "auth-secret"} <= set(form.errors)


def test_secrets_are_found_wherever_they_are_named() -> None:
    assert secrets_of(Everything.model_validate(FULL)) == {"t", "s", "b"}


def test_flat_and_nested_are_each_others_inverse() -> None:
    stored = Everything.model_validate(FULL).model_dump(mode="json")
    assert Everything.model_validate(nested(Everything, flat(stored))) == Everything.model_validate(FULL)


def test_settings_of_earlier_versions_still_load() -> None:
    """Before there were shapes to choose from, every connection stored the fields of all of them."""
    left = {"secret": "", "username": "", "header": "X-Api-Key"}
    for auth, kind in (({"type": "none"}, "none"), ({"type": "bearer", "secret": "s"}, "bearer"), ({}, "none"),
                       ({"type": "basic", "username": "u", "secret": "s"}, "basic")):  # fmt: skip
        made: Any = connections.parse_settings("http", {"base_url": "https://x.example", "auth": {**left, **auth}})
        assert made.auth.type == kind
