"""An agent on a VM: a detached job on a real sshd that calls back; what it made is published, or thrown away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from resources import artifacts
from tests.examples.outside import Outside
from tests.examples.play import Person, carry_on, output, release, statuses

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
WORKS = 'echo "worked on: $(cat)"\necho once >> begun\n'
STUCK = WORKS + "sleep 600\n"


@pytest.fixture
def vm(ssh: Callable[..., Path], outside: Outside, settings: Any) -> Callable[[str], Path]:
    settings.PUBLIC_URL = outside.url

    def make(agent: str) -> Path:
        tell = 'echo "$(basename "$0") $@" >> told\n'
        return ssh("vm", run_agent=agent, publish_result=tell, discard_result=tell)

    return make


def called_back(run: str, outside: Outside) -> None:
    """The job has ended and called; the test passes its call on to the product."""
    carry_on(run, lambda: outside.told)
    path, body = outside.told[0]
    assert Client().post(path, body, content_type="application/json").status_code == 202


@pytest.mark.parametrize(("decision", "told"), [("approve", "publish-result"), ("reject", "discard-result")])
def test_what_it_made_is_published_or_thrown_away_as_a_person_says(
    vm: Callable[[str], Path], outside: Outside, decision: str, told: str
) -> None:
    home = vm(WORKS)
    olga, rita = Person("olga", "operator"), Person("rita", "reviewer")
    run = olga.start(release("agent"), task="tidy $(up)")
    called_back(run, outside)
    request = rita.asked(run)
    kept = output(run, "result")["stdout"]["$res"]
    assert f"[What it said]({kept})" in request["summary"]
    assert artifacts.read(artifacts.get(kept)) == b"worked on: tidy $(up)\n"
    assert not (home / "told").exists()
    rita.decide(request, decision)
    ended = carry_on(run)
    assert (ended.status, ended.output["published"]) == ("succeeded", decision == "approve"), ended.error
    assert (home / "told").read_text() == f"{told} --job {output(run, 'agent')['job']}\n"


@ON_SQLITE
def test_an_agent_that_fails_asks_nobody(vm: Callable[[str], Path], outside: Outside) -> None:
    home = vm(WORKS + "exit 3\n")
    run = Person("olga", "operator").start(release("agent"), task="tidy")
    called_back(run, outside)
    ended = carry_on(run)
    assert (ended.status, ended.error["class"], ended.error["step"]) == ("failed", "exit", "result")
    assert not (home / "told").exists()


@ON_SQLITE
def test_cancelling_the_run_ends_the_agent_on_its_machine(vm: Callable[[str], Path]) -> None:
    home = vm(STUCK)
    olga = Person("olga", "operator")
    run = olga.start(release("agent"), task="tidy")
    carry_on(run, lambda: statuses(run).get("done") == "waiting" and (home / "begun").exists())
    olga.post(f"/runs/{run}/cancel", {"reason": "enough"})
    assert carry_on(run).status == "cancelled"
    job = home / ".orchestra" / "jobs" / output(run, "agent")["job"]
    carry_on(run, lambda: (job / "exit").exists())
    assert (job / "exit").read_text().strip() in ("143", "137")
    assert not (home / "told").exists()
