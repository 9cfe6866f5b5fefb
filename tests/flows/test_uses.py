"""Which flows name a connection: kept with drafts and releases, told on its page, and what keeps it from deletion."""

from __future__ import annotations

from typing import Any

import pytest

from flows.actions import create_flow, make_live, release_draft, save_draft
from flows.models import ConnectionUse
from flows.uses import named_in, secrets_in
from resources import connections, secrets, usage
from resources.access import Actor
from resources.errors import Conflict

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
ADMIN = Actor.system("tests")
FLOW = """
flow: deploy
defaults: {timeout: 30s}
steps:
  - id: a
    http: {connection: %s}
    compensate: {http: {connection: undoing}}
"""


@pytest.fixture(autouse=True)
def there_are_some() -> None:
    for name in ("one", "two", "undoing"):
        settings = {"base_url": "https://api.example.com"}
        connections.create_connection(actor=ADMIN, name=name, kind="http", settings=settings)


def uses(name: str) -> list[tuple[str, bool]]:
    return [(use.label, use.blocks) for use in usage.uses_of("connection", name)]


def test_drafts_and_live_releases_are_told_apart_and_only_what_is_live_keeps_a_connection() -> None:
    create_flow(actor=ADMIN, source=FLOW % "one")
    assert uses("one") == uses("undoing") == [("draft of flow deploy", False)]
    release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)
    assert uses("one") == [("flow deploy", True)]
    save_draft(actor=ADMIN, slug="deploy", source=FLOW % "two", revision=1)
    assert (uses("one"), uses("two")) == ([("flow deploy", True)], [("draft of flow deploy", False)])
    with pytest.raises(Conflict, match="one is used by flow deploy"):
        connections.delete_connection(actor=ADMIN, name="one")
    release_draft(actor=ADMIN, slug="deploy", version="1.1.0", live=True)
    assert (uses("one"), uses("two")) == ([], [("flow deploy", True)])
    connections.delete_connection(actor=ADMIN, name="one")
    with pytest.raises(Conflict):
        connections.delete_connection(actor=ADMIN, name="undoing")


def test_going_back_to_an_older_release_is_noticed() -> None:
    create_flow(actor=ADMIN, source=FLOW % "one")
    release_draft(actor=ADMIN, slug="deploy", version="1.0.0", live=True)
    save_draft(actor=ADMIN, slug="deploy", source=FLOW % "two", revision=1)
    release_draft(actor=ADMIN, slug="deploy", version="1.1.0", live=True)
    make_live(actor=ADMIN, slug="deploy", version="1.0.0")
    assert uses("one") == [("flow deploy", True)]
    assert usage.counts_of("connection") == {"one": 1, "two": 1, "undoing": 1}
    assert ConnectionUse.objects.count() == 4


def test_a_draft_that_only_it_names_lets_a_connection_go() -> None:
    create_flow(actor=ADMIN, source=FLOW % "one")
    connections.delete_connection(actor=ADMIN, name="one")


@pytest.mark.parametrize(
    ("text", "names"),
    [("", set()), ("steps: 5", set()), ("steps: [1, {http: []}, {id: a, http: {connection: x}}]", {"x"}),
     (": [", set()),
     ("steps: [{http: {connection: '${{ input.c }}', json: {connection: no}}}]", set()),
     ("steps: [{http: {connection: [1]}, fallback: {http: {connection: y}}, already_done: {http: {connection: z}}}]",
      {"y", "z"})],
)  # fmt: skip
def test_texts_are_read_as_far_as_they_can_be(text: Any, names: set[str]) -> None:
    assert named_in(text) == names


HOOKED = """
flow: hooked
triggers: [{webhook: {verify: github, secret: %s}}]
steps:
  - {id: a, wait: {callback: {secret: signs}}}
  - {id: b, wait: {first: {called: {callback: {secret: first-signs}}, late: {until: "2030-01-01T00:00:00Z"}}}}
"""


def test_a_secret_that_a_live_flow_checks_callers_with_stays_and_one_of_a_draft_may_go() -> None:
    for name in ("hook", "hook-new", "signs", "first-signs"):
        secrets.set_secret(actor=ADMIN, name=name, value="a value of its own")
    create_flow(actor=ADMIN, source=HOOKED % "hook")
    assert [(use.label, use.blocks) for use in usage.uses_of("secret", "hook")] == [("draft of flow hooked", False)]
    release_draft(actor=ADMIN, slug="hooked", version="1.0.0", live=True)
    save_draft(actor=ADMIN, slug="hooked", source=HOOKED % "hook-new", revision=1)
    for name in ("hook", "signs", "first-signs"):
        with pytest.raises(Conflict, match=f"{name} is used by flow hooked"):
            secrets.delete_secret(actor=ADMIN, name=name)
    secrets.delete_secret(actor=ADMIN, name="hook-new")


@pytest.mark.parametrize(
    "text",
    ["", ": [", "5", "triggers: 5", "steps: {}", "triggers: [1, {webhook: 2}]", "steps: [{wait: {first: [1]}}]",
     "steps: [{wait: {callback: {secret: [x]}}}]"],
)  # fmt: skip
def test_secrets_are_looked_for_as_far_as_a_text_can_be_read(text: str) -> None:
    assert secrets_in(text) == frozenset()
