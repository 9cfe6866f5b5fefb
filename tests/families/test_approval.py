"""The approval family: what a reviewer is asked to sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.definition.canonical import digest
from flows.steps.approval.step import request
from flows.steps.base import Action, Wait
from tests.families.attempt import attempt, resolve

SENTENCE = "Computes a value with 1 line of Python, touching nothing outside"


def ask(config: dict[str, Any], **known: Any) -> Wait:
    outcome = attempt("approval", {"title": "Release", **config}, {"input": {"name": "billing"}}, **known).outcome
    assert isinstance(outcome, Wait), outcome
    return outcome


def actions(step: str, count: int = 1) -> list[Action]:
    config = {"code": "1", "input": {}, "limits": {"time": 1.0, "memory": 1}}
    items = [None] if count == 1 else range(count)
    return [Action(step, item, "function", None, config) for item in items]


def test_the_request_holds_everything_a_reviewer_and_the_engine_need() -> None:
    wait = ask(
        {
            "title": "Release ${{ input.name }}", "summary": "**now**", "protects": ["deploy"], "expires": "8h",
            "reviewers": {"groups": ["release-managers"], "quorum": 2, "exclude": ["starter"]},
            "form": {"type": "object", "properties": {"window": {"enum": ["now", "tonight"]}}},
            "on_expiry": "fail", "on_reject": "continue",
        },
        resolve=actions, irreversible=lambda step: step == "deploy", previous_digest="abc",
    )  # fmt: skip
    assert (wait.kind, wait.timeout, wait.until) == ("approval", 8 * 3600.0, None)
    assert wait.spec == {
        "title": "Release billing",
        "summary": "**now**",
        "actions": [{**actions("deploy")[0].to_json(), "sentence": SENTENCE, "irreversible": True}],
        "digest": digest([a.to_json() for a in actions("deploy")]),
        "irreversible": True,
        "reviewers": {"users": [], "groups": ["release-managers"], "quorum": 2, "exclude": ["starter"]},
        "form": {"type": "object", "properties": {"window": {"enum": ["now", "tonight"]}}},
        "on_expiry": "fail",
        "on_reject": "continue",
        "previous_digest": "abc",
    }


def test_every_item_of_every_protected_step_is_listed_in_order() -> None:
    wait = ask({"protects": ["first", "second"]}, resolve=lambda step: actions(step, 3 if step == "second" else 1))
    listed = [(a["step"], a["item"]) for a in wait.spec["actions"]]
    assert listed == [("first", None), ("second", 0), ("second", 1), ("second", 2)]


def test_the_digest_is_of_the_actions_and_not_of_the_wording() -> None:
    plain = ask({"protects": ["deploy"]}, resolve=actions).spec["digest"]
    assert ask({"protects": ["deploy"], "title": "Other", "summary": "x"}, resolve=actions).spec["digest"] == plain
    assert ask({"protects": ["deploy"]}, resolve=lambda step: actions(step, 2)).spec["digest"] != plain


def test_a_connections_new_version_changes_the_digest(connect: Callable[..., str]) -> None:
    connect()
    action = resolve("http", {"connection": "world", "method": "POST"})
    assert action.connection is not None
    newer = Action("step", None, "http", {**action.connection, "version": 2}, action.config)
    assert digest([action.to_json()]) != digest([newer.to_json()])


def test_not_told_otherwise_a_protected_step_counts_as_irreversible() -> None:
    assert ask({"protects": ["deploy"]}, resolve=actions).spec["irreversible"] is True
    assert ask({"protects": ["deploy"]}, resolve=actions, irreversible=lambda s: False).spec["irreversible"] is False


def test_an_approval_may_protect_nothing() -> None:
    spec = ask({}).spec
    assert (spec["actions"], spec["irreversible"], spec["digest"]) == ([], False, digest([]))


def test_a_request_can_be_built_again_with_other_form_values() -> None:
    config = resolve("approval", {"title": "Release", "protects": ["deploy"]}).config
    again = request(config, actions("deploy"), irreversible=lambda step: False)
    assert again == ask({"protects": ["deploy"]}, resolve=actions, irreversible=lambda step: False).spec
