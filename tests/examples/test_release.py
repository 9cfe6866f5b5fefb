"""Release with a canary: to everybody, or back again, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples.outside import Outside
from tests.examples.play import Person, carry_on, release, statuses

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
#: `deploy` notes what it did once for each key; `rollback` can be told for what never was
DEPLOY = (
    'grep -qs "$ORCHESTRA_IDEMPOTENCY_KEY" keys || { echo "$ORCHESTRA_IDEMPOTENCY_KEY" >> keys; echo "$@" >> done; }\n'
)
CANARY = ["shop v2.0.0 --share 10"]
ALL = [*CANARY, "shop v2.0.0 --share 100"]
BACK = ["back: shop v2.0.0"]


class Shop:
    def __init__(self, home: Path, outside: Outside) -> None:
        self.home, self.outside = home, outside
        self.outside.answers = {
            "/builds/shop/v2.0.0": [{"status": "passed"}],
            "/canary": [{"requests": 40, "errors": 0}, {"requests": 700, "errors": 6}],
            "/health": [{"ok": True}],
        }
        self.olga, self.rita = Person("olga", "operator"), Person("rita", "reviewer")

    def start(self) -> str:
        return self.olga.start(
            release("release", sooner={"every: 30s": "every: 100ms"}), service="shop", version="v2.0.0"
        )

    @property
    def done(self) -> list[str]:
        """What happened on the machines, in order."""
        path = self.home / "done"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def shop(ssh: Callable[..., Path], http: Callable[[str], Any], outside: Outside) -> Shop:
    http("ci")
    http("monitor")
    return Shop(ssh("fleet", deploy=DEPLOY, rollback='echo "back: $@" >> done\n'), outside)


def test_a_good_canary_goes_to_everybody_once_a_person_has_seen_its_numbers(shop: Shop) -> None:
    run = shop.start()
    request = shop.rita.asked(run)
    assert shop.done == CANARY
    assert "**6** of\n700 requests failed" in request["summary"]
    assert request["actions"][0]["config"]["command"] == ["deploy", "shop", "v2.0.0", "--share", "100"]
    shop.rita.decide(request, "approve")
    ended = carry_on(run)
    assert (ended.status, ended.output) == ("succeeded", {"service": "shop", "version": "v2.0.0"}), ended.error
    assert shop.done == ALL


@ON_SQLITE
def test_a_no_takes_the_canary_off_again(shop: Shop) -> None:
    run = shop.start()
    shop.rita.decide(shop.rita.asked(run), "reject")
    assert carry_on(run).status == "cancelled"
    assert shop.done == CANARY + BACK


@ON_SQLITE
def test_a_bad_canary_turns_back_before_anybody_is_asked(shop: Shop) -> None:
    shop.outside.answers["/canary"] = [{"requests": 40, "errors": 0}, {"requests": 90, "errors": 3}]
    ended = carry_on(run := shop.start())
    assert (ended.status, ended.error["step"]) == ("failed", "watch")
    assert "more than one request in a hundred" in ended.error["message"]
    assert "approve" not in {k for k, v in statuses(run).items() if v != "skipped"}
    assert shop.done == CANARY + BACK


@ON_SQLITE
def test_users_who_meet_errors_afterwards_bring_the_old_version_back(shop: Shop) -> None:
    shop.outside.answers["/health"] = [{"ok": False}]
    run = shop.start()
    shop.rita.decide(shop.rita.asked(run), "approve")
    ended = carry_on(run)
    assert (ended.status, ended.error["step"]) == ("failed", "health")
    assert shop.done == ALL + BACK * 2


@ON_SQLITE
def test_what_has_not_passed_is_not_deployed(shop: Shop) -> None:
    shop.outside.answers["/builds/shop/v2.0.0"] = [{"status": "failed"}]
    assert carry_on(shop.start()).status == "failed"
    assert shop.done == []
