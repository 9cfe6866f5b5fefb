"""A run with sensitive values in its input, a variable, outputs, a callback and an approval's form, read everywhere."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals import telling
from approvals.actions import decide_request
from approvals.models import ApprovalRequest
from flows import variables
from flows.actions import create_flow, release_draft
from flows.definition.sensitive import MARK
from flows.models import Flow
from orchestra.api import api as api_root
from resources.access import Actor
from resources.errors import BadInput
from resources.models import Artifact, AuditEntry, Grant, Notice
from runs import copies, store, tokens, waits
from runs.actions import deliver, start_run
from runs.models import Run, RunEvent, StepRun
from runs.outbound import letters
from runs.outbound.envelope import body, event
from runs.outbound.horizon import last_id
from runs.outbound.types import PUBLISHED
from runs.search import hits, keeping
from runs.search.finding import Asked
from runs.worker import Worker
from tests.engine.cluster import SYSTEM, check_fold, make_flow
from tests.engine.conftest import database
from tests.engine.test_store_queue import drain

__all__ = ["database"]
CARD, PIN, SALARY, TOKEN, WORD, LONG = "4111222233334444", 77, 918273, "tok-zebra-quartz", "marmalade", "w" * 70_000
KEY: Final = "key-orchid-lantern"
SECRETS: Final = (CARD, str(SALARY), TOKEN, WORD, KEY, LONG[:500])
CHILD = """
flow: child
input: {type: object, properties: {given: {type: string}}}
steps:
  - id: keep
    kv: {set: {key: given, value: "${{ input.given }}"}}
output: {echo: "${{ input.given }}"}
"""
SOURCE = """
flow: pay
vars: {key: {type: string, x-sensitive: true}}
input:
  type: object
  properties:
    who: {type: string}
    note: {type: string}
    card: {type: string, x-sensitive: true}
    pin: {type: integer, x-sensitive: true}
steps:
  - id: look
    function:
      code: "print(pay); {'name': 'Ada', 'salary': pay, 'low': 12, 'key': key}"
      input: {pay: "${{ 918272 + 1 }}", key: "${{ vars.key }}"}
      gives: {type: object, properties: {salary: {x-sensitive: true}, low: {x-sensitive: true}}}
  - id: each
    for_each: {items: [1, 2]}
    function: {code: "{'code': 'a' + str(item)}", input: {item: "${{ item }}"}}
    output: {properties: {code: {type: string, x-sensitive: true}}}
  - id: send
    kv: {set: {key: last, value: "${{ 'card ' + input.card + ' of ' + string(steps.look.output.salary) }}"}}
  - id: below
    call: {flow: child, input: {given: "${{ input.card }}"}}
  - id: large
    function: {code: "{'all': text * 70000}", input: {text: w}, gives: {properties: {all: {x-sensitive: true}}}}
  - id: tell
    notify:
      title: "Paid with ${{ input.card }}"
      text: "Salary ${{ steps.look.output.salary }}"
      people: {users: [vera]}
  - id: back
    wait: {callback: {timeout: 1h, schema: {properties: {token: {type: string, x-sensitive: true}}}}}
  - id: ask
    approval:
      title: Pay with ${{ input.card }}
      summary: "It is **${{ steps.back.output.token }}**"
      protects: [pay]
      reviewers: {users: [rita, vera], quorum: 2}
      form: {type: object, properties: {word: {type: string, default: later, x-sensitive: true}, sure: {type: boolean}}}
  - id: pay
    irreversible: true
    kv: {set: {key: paid, value: "${{ [input.card, steps.ask.output.form.word] }}"}}
  - id: check
    function: {code: "{'iban': 'NO-' + card, 'more': 'x'}", input: {card: "${{ input.card }}"}}
    output: {properties: {iban: {type: string, maxLength: 3, x-sensitive: true}}}
output: {card: "${{ input.card }}", done: true}
"""


@dataclass
class Story:
    run: str
    people: dict[str, User]

    def step(self, name: str) -> StepRun:
        return StepRun.objects.get(run_id=self.run, step=name, item=-1)

    def client(self, name: str) -> Client:
        made = Client()
        made.force_login(self.people[name])
        return made


def live(source: str) -> Flow:
    """A flow with a draft and a live release."""
    slug = create_flow(actor=SYSTEM, source=source).slug
    release_draft(actor=SYSTEM, slug=slug, version="1.0.0", live=True)
    return Flow.objects.get(slug=slug)


def play() -> Story:
    """Up to its end, which is that `check` breaks its promise: the error must not quote what it was given."""
    roles = {"vera": ("viewer", "reviewer"), "rita": ("reviewer", "operator"), "root": ("admin",)}
    people = {name: User.objects.create_user(name) for name in roles}
    for name, held in roles.items():
        for role in held:
            Grant.objects.create(user=people[name], role=role)
    variables.set_variable(
        actor=SYSTEM, name="key", schema={"type": "string", "x-sensitive": True}, values={"live": KEY, "draft": KEY}
    )
    live(CHILD)
    given = {"who": "Ada", "note": f"call me, {CARD}", "card": CARD, "pin": PIN}
    starter = Actor.of_user(people["rita"])
    story = Story(start_run(actor=starter, flow=live(SOURCE), input=given).run.pk, people)
    drain(Worker("w"))
    run = Run.objects.get(pk=story.run)
    token = waits.token_of(store.plan_of(run.release_id), run.pk, "back", -1, 1)
    assert tokens.read(token) is not None
    assert deliver(token=token, payload={"token": TOKEN}, actor=starter).outcome == "accepted"
    drain(Worker("w"))
    assert story.step("ask").status == "waiting", (Run.objects.get(pk=story.run).error, story.step("ask").state)
    return story


def vote(story: Story, who: str, form: Any) -> ApprovalRequest:
    request = ApprovalRequest.objects.get(run_id=story.run, status="open")
    from approvals.forms import resolve

    digest = resolve(request, form).digest
    actor = Actor.of_user(story.people[who])
    return decide_request(
        actor=actor, request_id=request.pk, verdict="approve", digest=digest, comment=f"saw {CARD}", form=form
    )


def end(story: Story) -> None:
    vote(story, "rita", {"word": WORD, "sure": True})
    vote(story, "vera", {"word": MARK, "sure": True})  # left as it was shown
    drain(Worker("w"))


def leaks(text: str) -> list[str]:
    """The secrets it holds."""
    return [secret for secret in SECRETS if secret in text]


def addresses(story: Story) -> list[str]:
    """Every address of the API that is read, of this run, its approval, its resources; and the pages."""
    request = ApprovalRequest.objects.filter(run_id=story.run).latest("created_at").pk
    resource = Artifact.objects.filter(run_id=story.run).latest("created_at").pk
    names = {
        "run_id": story.run, "slug": "pay", "request_id": request, "resource_id": resource, "name": "key",
        "seq": AuditEntry.objects.latest("seq").seq,
    }  # fmt: skip
    paths = api_root.get_openapi_schema(path_prefix="")["paths"]
    found = []
    for path, methods in paths.items():
        wanted = re.findall(r"{(\w+)}", path)
        if "get" in methods and all(name in names for name in wanted):
            found.append("/api/v1" + path.format(**names))
    steps = StepRun.objects.filter(run_id=story.run, item=-1).values_list("step", flat=True)
    found += [f"/runs/{story.run}?step={step}&tab={tab}" for step in steps for tab in ("input", "output")]
    more = ("", "runs", "inbox", f"approvals/{request}", "dead-letters", "flows", "flows/pay", "search?q=Ada",
            "variables", "variables/key/edit", "notices", "audit", f"resources/{resource}", "resources")  # fmt: skip
    return [*found, *(f"/{path}" for path in more)]


def read(client: Client, address: str) -> tuple[int, str]:
    answer: Any = client.get(address)
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, content.decode(errors="replace")


def test_nobody_reads_a_sensitive_value_anywhere_and_the_engine_has_the_true_ones(database: str) -> None:
    story = play()
    telling.Duty().turn(time.time())
    assert story.step("send").output is not None
    request = ApprovalRequest.objects.get(run_id=story.run)
    assert CARD in json.dumps(request.actions), "what is decided on is true"
    _look_everywhere(story, "vera")
    end(story)
    while keeping.step(last_id(), time.time()):
        pass
    run = Run.objects.get(pk=story.run)
    assert run.status == "failed", run.error
    from resources import kv

    assert kv.get(namespace="flow:pay", key="paid", now=time.time()) == [CARD, WORD], "steps send what is true"
    assert not leaks(json.dumps(run.error)), "an output that was refused is not quoted"
    _look_everywhere(story, "root")
    check_fold(story.run)


def _look_everywhere(story: Story, who: str) -> None:
    client, seen = story.client(who), 0
    for address in addresses(story):
        status, text = read(client, address)
        assert status < 500, (address, text[:500])
        assert leaks(text) == [], (who, address)
        seen += status == 200
    assert seen > 40
    for entry in AuditEntry.objects.all():
        assert leaks(json.dumps(entry.data)) == [], entry.action
    assert Notice.objects.count() and not any(leaks(n.title + n.text) for n in Notice.objects.all())
    for row in RunEvent.objects.filter(type__in=PUBLISHED).select_related("run__flow", "run__release"):
        sent = body(event(letters._entry(row), base_url="http://x", include_output=True)).decode()
        assert leaks(sent) == [], (row.type, sent)
    root = Actor.of_user(story.people["root"])
    for query in (CARD, TOKEN, WORD, "salary"):
        assert leaks(str(hits.search(root, Asked(query, limit=20), hydrate=True))) == []


def test_what_is_shown_stands_where_it_was_and_the_rest_is_whole(database: str) -> None:
    story = play()
    client = story.client("vera")
    run = client.get(f"/api/v1/runs/{story.run}").json()
    assert run["input"] == {"who": "Ada", "note": f"call me, {MARK}", "card": MARK, "pin": MARK}
    events = client.get(f"/api/v1/runs/{story.run}/events?limit=200").json()["items"]
    looked = next(e["data"]["output"] for e in events if e["type"] == "step.succeeded" and e["step"] == "look")
    assert looked == {"name": "Ada", "salary": MARK, "low": MARK, "key": MARK}
    items = [
        e["data"]["output"] for e in events if e["step"] == "each" and e["item"] is not None and "output" in e["data"]
    ]
    assert items and all(item == {"code": MARK} for item in items)
    assert story.step("each").output == [{"code": "a1"}, {"code": "a2"}]
    assert "Ada" in client.get(f"/runs/{story.run}?step=look&tab=output").content.decode()
    below = Run.objects.get(parent_id=story.run)
    assert below.input == {"given": CARD}
    assert client.get(f"/api/v1/runs/{below.pk}").json()["input"] == {"given": MARK}, "a child of a run that says so"


def test_a_replay_keeps_what_was_left_as_it_is_shown(database: str) -> None:
    story = play()
    end(story)
    actor = Actor.of_user(story.people["root"])
    shown = story.client("root").get(f"/api/v1/runs/{story.run}").json()["input"]
    started = copies.replay_run(actor=actor, run_id=story.run, input={**shown, "who": "Bob"}).run
    first = Run.objects.get(pk=story.run).input
    assert Run.objects.get(pk=started.pk).input == {**first, "who": "Bob"}
    assert copies.replay_run(actor=actor, run_id=story.run).run.input == first
    with pytest.raises(BadInput) as refused:
        copies.replay_run(actor=actor, run_id=story.run, input={**shown, "who": MARK})
    assert refused.value.stable_code == "sensitive_mark"


def test_a_variable_keeps_its_value_unless_it_is_written_anew_and_its_type_still_hides_it(database: str) -> None:
    secret = {"type": "string", "x-sensitive": True}
    variables.set_variable(actor=SYSTEM, name="key", schema=secret, values={"live": KEY})
    row, _ = variables.set_variable(actor=SYSTEM, name="key", schema=secret, values={"live": MARK, "draft": "two"})
    assert row.values == {"live": KEY, "draft": "two"}
    with pytest.raises(BadInput):
        variables.set_variable(actor=SYSTEM, name="key", schema={"type": "string"}, values={"live": MARK})
    plain = make_flow("flow: open\nvars: {key: {type: string}}\nsteps: [{id: rest, sleep: 1s}]\n")
    with pytest.raises(BadInput) as refused:
        start_run(actor=SYSTEM, flow=plain, input={})
    assert refused.value.stable_code == "sensitive_variable"
