"""What every step family must do, whatever it is. A new family needs a sample and passes all of this."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.contrib.auth import get_user_model
from pydantic import BaseModel

from flows.resolve import ResolveError
from flows.steps.base import ERROR_CLASSES, Done, Fail, Family, Retry, Wait
from flows.steps.configs import CONFIGS
from flows.steps.documentation import document
from flows.steps.registry import all_families
from resources import kv
from resources.access import Actor
from resources.connections import create_connection
from tests.engine.cluster import make_flow
from tests.families import databases
from tests.families.attempt import KEY, as_json, attempt, error, resolve
from tests.families.conftest import SECRET
from tests.families.models import Raw, Refuse, Say, provider
from tests.families.outside import Outside, closed_port
from tests.families.samples import SAMPLES, Sample
from tests.families.test_notify import chat_connection, mail_connection

pytestmark = pytest.mark.db_matrix
Json = Any
FAMILIES = {member.name: member for member in all_families()}
MAX_KEPT = 5 * 1024 * 1024


@pytest.fixture(params=list(FAMILIES))
def member(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture
def sample(member: Family) -> Sample:
    return SAMPLES[member.name]


@pytest.fixture(autouse=True)
def the_outside(connect: Callable[..., str], box: Callable[..., str]) -> Iterator[None]:
    box()
    box("changed", known_hosts="SHA256:" + "A" * 43)
    box("nobody", username="no-such-user")
    box("away", port=closed_port())
    connect("world", auth={"type": "bearer", "secret": "world-token"})
    connect("root", path="", auth={"type": "bearer", "secret": "world-token"})
    create_connection(
        actor=Actor.system("tests"),
        name="closed",
        kind="http",
        settings={"base_url": f"http://127.0.0.1:{closed_port()}", "allow_networks": ["127.0.0.0/8"]},
    )
    databases.sqlite_database("contract")
    closed = {"host": "127.0.0.1", "port": closed_port(), "database": "d", "username": "u", "secret": "world-token"}
    closed |= {"allow_networks": ["127.0.0.0/8"]}
    create_connection(actor=Actor.system("tests"), name="closed-db", kind="postgres", settings=closed)
    models = (
        ("brain", Say("Ana.")),
        ("slow-brain", Raw((b":\n\n",), 0.05, forever=True)),
        ("broken-brain", Refuse(500, "no")),
    )
    with ExitStack() as stack:
        for name, said in models:
            url = stack.enter_context(provider(said)).url
            settings = {"base_url": url, "key": "world-token", "model": "small", "allow_networks": ["127.0.0.0/8"]}
            create_connection(actor=Actor.system("tests"), name=name, kind="llm", settings=settings)
        closed = {"base_url": f"http://127.0.0.1:{closed_port()}", "model": "m", "allow_networks": ["127.0.0.0/8"]}
        create_connection(actor=Actor.system("tests"), name="closed-brain", kind="llm", settings=closed)
        make_others()
        yield


def make_others() -> None:
    get_user_model().objects.create_user("ana", password="x")
    mail_connection(closed_port(), "closed-mail")
    chat_connection(f"json://u:{quote_plus(SECRET)}@127.0.0.1:{closed_port()}", "closed-chat")
    child = "flow: child\ninput: {type: object, properties: {n: {type: integer}}}\n"
    make_flow(child + "steps:\n  - {id: one, function: {code: '1'}}\n")
    kv.set(now=0, namespace="flow:release-service", key="text", value="not a number")


def test_every_family_of_the_language_is_registered_with_its_own_config() -> None:
    assert {name: m.Config for name, m in FAMILIES.items()} == dict(CONFIGS)


def test_resolves_its_input_to_json_without_expressions(member: Family, sample: Sample) -> None:
    action = resolve(member.name, sample.config, dict(sample.scope))
    text = json.dumps(action.to_json(), allow_nan=False)
    assert sample.resolved in text
    assert "${{" not in text


def test_resolving_twice_gives_the_same_bytes(member: Family, sample: Sample) -> None:
    first, second = (resolve(member.name, sample.config, dict(sample.scope)).to_json() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_says_in_one_sentence_what_it_will_do(member: Family, sample: Sample) -> None:
    sentence = member.describe(resolve(member.name, sample.config, dict(sample.scope)))
    assert sentence[0].isupper()
    assert "\n" not in sentence
    assert len(sentence) < 1000


def test_an_expression_without_a_value_is_an_expression_error(member: Family, sample: Sample) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve(member.name, sample.config, {"input": {}})
    assert raised.value.error.cls == "expression"
    assert raised.value.error.details["expression"]


def test_a_rendered_value_of_the_wrong_type_is_a_config_error(member: Family, sample: Sample) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve(member.name, sample.invalid, dict(sample.scope))
    assert raised.value.error.cls == "config"
    assert raised.value.message.startswith("The step step cannot be worked out: ")


def test_an_attempt_ends_as_done_or_as_a_wait(member: Family, sample: Sample) -> None:
    outcome = attempt(member.name, sample.config, dict(sample.scope)).outcome
    assert isinstance(outcome, (Done, Wait)), outcome


def test_an_attempt_that_would_never_end_ends_when_its_time_is_up(member: Family, sample: Sample) -> None:
    config = sample.config if sample.endless is None else sample.endless
    ended = attempt(member.name, config, dict(sample.scope), timeout=0.3)  # a hang fails by the suite's time limit
    if sample.endless is None:
        assert isinstance(ended.outcome, (Done, Wait))
    else:
        assert isinstance(ended.outcome, Retry)
        assert ended.outcome.error.cls == "timeout"


def test_every_failure_has_a_published_class_and_a_sentence(member: Family, sample: Sample) -> None:
    for config in sample.failing:
        failed = attempt(member.name, config, dict(sample.scope))
        assert isinstance(failed.outcome, (Retry, Fail)), config
        assert error(failed) in ERROR_CLASSES
        assert len(failed.outcome.error.message) > 10
        json.dumps(failed.stored, allow_nan=False)


def test_what_it_does_outside_carries_the_key(member: Family, sample: Sample, outside: Outside) -> None:
    if not member.has_effect:
        attempt(member.name, sample.config, dict(sample.scope))
        assert outside.seen == []
        return
    first, again = (attempt(member.name, sample.config, dict(sample.scope)) for _ in range(2))
    if member.name == "ssh":
        assert all(f"billing {KEY}\n" == kept.stored["output"]["stdout"] for kept in (first, again))
        return
    if member.name == "job":  # its runner does it, with the key it is handed
        assert [kept.stored["spec"]["key"] for kept in (first, again)] == [KEY, KEY]
        return
    keys = [seen.headers.get("idempotency-key") for seen in outside.seen]
    if member.repeatable(first.action, None):
        assert as_json(first.outcome) == as_json(again.outcome)
    else:
        assert keys == [KEY, KEY]


def test_no_secret_is_in_an_action_an_output_an_error_or_the_log(
    member: Family, sample: Sample, outside: Outside
) -> None:
    for config in (sample.config, *sample.failing):
        attempted = attempt(member.name, config, dict(sample.scope))
        kept = json.dumps([attempted.action.to_json(), attempted.stored, attempted.log], ensure_ascii=False)
        assert SECRET not in kept
    if member.name == "http":
        assert outside.seen[0].headers["authorization"] == f"Bearer {SECRET}"  # it was sent, and echoed


def test_output_is_bounded(member: Family, sample: Sample) -> None:
    if sample.huge is None:
        attempted = attempt(member.name, sample.config, dict(sample.scope))
        assert len(json.dumps(attempted.stored)) < 2000
        return
    attempted = attempt(member.name, sample.huge, dict(sample.scope), resolve=lambda step: list(sample.huge_actions))
    assert error(attempted) == "limit"
    assert isinstance(attempted.outcome, Fail)


def test_an_unknown_outcome_may_be_repeated_unless_it_may_act_twice(member: Family, sample: Sample) -> None:
    action = resolve(member.name, sample.config, dict(sample.scope))
    assert member.repeatable(action, None) is (member.name not in ("http", "ssh", "job"))


def test_every_key_of_its_config_is_documented(member: Family) -> None:
    text = document([member])
    assert member.summary in text
    for name, field in member.Config.model_fields.items():
        assert field.description, name
        assert f"`{field.alias or name}`" in text


def test_its_config_refuses_unknown_keys(member: Family, sample: Sample) -> None:
    assert issubclass(member.Config, BaseModel)
    with pytest.raises(ResolveError) as raised:
        resolve(member.name, {**sample.config, "no_such_key": 1}, dict(sample.scope))
    assert raised.value.error.cls == "config"
