"""llm against a provider that speaks both protocols."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.base import Meter, Retry
from flows.steps.registry import family
from resources import kv, probe
from resources.access import Actor
from resources.connections import create_connection
from resources.secrets import set_secret
from tests.families.attempt import attempt, error, output, resolve
from tests.families.conftest import SECRET
from tests.families.models import Provider, Raw, Refuse, Say, provider

ADMIN = Actor.system("tests")
KEY = "sk-test-0123456789abcdef"
Start = Callable[..., Provider]
SCHEMA = {"type": "object", "required": ["severity"], "properties": {"severity": {"enum": ["low", "high"]}}}
GOOD, BAD = '{"severity": "high"}', '{"severity": "purple"}'
LOOK = {
    "name": "look",
    "description": "Looks up a value.",
    "parameters": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}},
    "given": {"space": "${{ input.space }}"},
    "do": {"kv": {"get": {"key": "${{ args.key }}", "namespace": "${{ given.space }}"}}},
}


@pytest.fixture(params=["openai", "anthropic"])
def start(request: Any, db: None) -> Iterator[Start]:
    """Start a provider with a script, and connect to it as `brain`."""
    with ExitStack() as stack:

        def begin(*script: Any, **settings: Any) -> Provider:
            server = stack.enter_context(provider(*script))
            set_secret(actor=ADMIN, name="llm-key", value=KEY)
            base = {"provider": request.param, "base_url": server.url, "key": "llm-key", "model": "small"}
            base |= {"allow_networks": ["127.0.0.0/8"], "prices": {"small": {"input": 1.0, "output": 10.0}}}
            create_connection(actor=ADMIN, name="brain", kind="llm", settings={**base, **settings})
            return server

        yield begin


def ask(prompt: str = "How bad is it?", known: dict[str, Any] | None = None, **config: Any) -> Any:
    given = {"connection": "brain", "prompt": prompt, **config}
    return attempt("llm", given, {"input": {"space": "facts"}}, **(known or {}))


def speaks(server: Provider) -> str:
    return "anthropic" if "anthropic-version" in server.headers[0] else "openai"


def schema_answer(server: str, value: str) -> Say:
    """How a model of that provider gives an answer with a schema."""
    return Say(calls=(("answer", f'{{"value": {value}}}'),)) if server == "anthropic" else Say(value)


def test_asks_and_gives_back_the_answer_and_what_it_cost(start: Start) -> None:
    server = start(Say("Größe: 3 ☂ of 4.", tokens=(1000, 200)))
    out = output(ask(system="Be brief.", temperature=0.5, max_tokens=77))
    assert out == {
        "text": "Größe: 3 ☂ of 4.", "json": None, "finish_reason": "stop", "model": "small-1",
        "usage": {"input_tokens": 1000, "output_tokens": 200, "cost": 0.003}, "calls": [],
    }  # fmt: skip
    (body,) = server.asked
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("small", 77, 0.5, True)
    assert body["messages"][-1] == {"role": "user", "content": "How bad is it?"}
    if speaks(server) == "anthropic":
        assert body["system"] == "Be brief." and server.headers[0]["x-api-key"] == KEY
    else:
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_server_that_does_not_stream_is_understood(start: Start) -> None:
    start(Say("All of it.", tokens=(7, 3))).streams = False
    out = output(ask())
    assert (out["text"], out["usage"]["input_tokens"], out["usage"]["output_tokens"]) == ("All of it.", 7, 3)


def test_what_the_model_says_is_shown_while_it_says_it(start: Start) -> None:
    start(Say("word " * 50))
    heard: list[str] = []
    output(ask(known={"tail": heard.append}))
    assert "".join(heard) == "word " * 50 and len(heard) > 10


def test_a_conversation_is_sent_turn_by_turn(start: Start) -> None:
    server = start(Say("Fine."))
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]
    output(attempt("llm", {"connection": "brain", "messages": turns}))
    assert server.asked[0]["messages"] == turns


@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```"])
def test_an_answer_with_a_schema_is_read(start: Start, text: str) -> None:
    server = start(Say(text))
    probing = output(ask(schema=SCHEMA)) if "`" not in text else None
    if probing is None:
        server.script = [Say(text)]
        probing = output(ask(schema=SCHEMA))
    assert probing["json"] == {"severity": "high"}


def test_an_answer_that_breaks_its_schema_is_asked_for_once_more(start: Start) -> None:
    server = start(Say(BAD), Say(GOOD))
    out = output(ask(schema=SCHEMA))
    assert out["json"] == {"severity": "high"} and len(server.asked) == 2
    again = server.asked[1]["messages"]
    assert again[1]["role"] == "assistant" and "breaks the schema: severity" in json.dumps(again[2])
    assert out["usage"]["input_tokens"] == 20


def test_an_answer_by_the_providers_own_means_is_read_and_asked_for_again(start: Start) -> None:
    server = start(Say("x"))
    ask()
    kind = speaks(server)
    server.script = [schema_answer(kind, BAD), schema_answer(kind, GOOD)]
    assert output(ask(schema=SCHEMA))["json"] == {"severity": "high"}
    assert "schema" in json.dumps(server.asked[1].get("response_format", server.asked[1].get("tools")))


def test_an_answer_that_breaks_its_schema_twice_fails(start: Start) -> None:
    server = start(Say(BAD))
    attempted = ask(schema=SCHEMA)
    assert error(attempted) == "contract" and len(server.asked) == 2
    assert "severity" in attempted.stored["message"]


def test_an_answer_cut_off_is_not_asked_for_again(start: Start) -> None:
    server = start(Say('{"severity": "hi', finish="length"))
    attempted = ask(schema=SCHEMA)
    assert error(attempted) == "contract" and "cut off" in attempted.stored["message"] and len(server.asked) == 1


def test_tools_are_used_and_what_they_give_is_read_by_the_model(start: Start) -> None:
    kv.set(namespace="shared:facts", key="owner", value={"name": "Ana"}, now=0)
    server = start(Say("Let me see.", calls=(("look", '{"key": "owner"}'),)), Say("Ana owns it."))
    out = output(ask(tools=[LOOK]))
    assert out["text"] == "Ana owns it."
    (call,) = out["calls"]
    assert (call["tool"], call["arguments"], call["ok"]) == ("look", '{"key": "owner"}', True)
    assert json.loads(call["result"])["value"] == {"name": "Ana"}
    assert "Ana" in json.dumps(server.asked[1]["messages"][-1])
    assert out["usage"]["output_tokens"] == 10


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("delete_everything", "{}", "no tool delete_everything"),
        ("look", '{"key": 7}', "break the schema: key"),
        ("look", "{}", "break the schema"),
        ("look", '{"key": "a", "x": ' + "9" * 70_000 + "}", "more than"),
        ("look", '{"key": "' + "k" * 600 + '"}', "cannot be worked out"),
    ],
)
def test_a_tool_that_is_misused_is_told_to_the_model(start: Start, name: str, arguments: str, said: str) -> None:
    server = start(Say(calls=((name, arguments),)), Say("Never mind."))
    out = output(ask(tools=[LOOK]))
    assert out["calls"][0]["ok"] is False and said in out["calls"][0]["result"]
    assert said in json.dumps(server.asked[1]["messages"][-1])


def test_what_a_tool_says_cannot_make_it_change_anything(start: Start) -> None:
    writes = {**LOOK, "do": {"kv": {"set": {"key": "${{ args.key }}", "value": 1}}}}
    start(Say(calls=(("look", '{"key": "a"}'),)), Say("Done."))
    out = output(ask(tools=[writes]))
    assert "needs an approval" in out["calls"][0]["result"]
    assert kv.get(namespace="flow:release-service", key="a", now=0, default="none") == "none"


def test_a_model_that_only_calls_tools_ends(start: Start) -> None:
    server = start(Say(calls=(("look", '{"key": "a"}'),)))
    assert error(ask(tools=[LOOK], max_turns=3)) == "limit" and len(server.asked) == 3


def test_what_people_approve_shows_what_a_tool_will_do(start: Start) -> None:
    start()
    action = resolve("llm", {"connection": "brain", "prompt": "x", "tools": [LOOK]}, {"input": {"space": "facts"}})
    (tool,) = action.config["tools"]
    assert tool["given"] == {"space": "facts"}
    assert tool["do"] == {"kv": {"get": {"key": "⟦ args.key ⟧", "namespace": "⟦ given.space ⟧"}}}
    assert family("llm").describe(action) == "Asks small: x"


class _Purse(Meter):
    def __init__(self, tokens: float, cost: float = 1.0) -> None:
        self.tokens, self.cost = tokens, cost
        self.added: list[tuple[str, int, int, float]] = []

    def left(self) -> tuple[float, float]:
        return self.tokens - sum(a[1] + a[2] for a in self.added), self.cost - sum(a[3] for a in self.added)

    def add(self, *used: Any) -> None:
        self.added.append(used)


def test_every_question_is_counted_also_of_an_attempt_that_fails(start: Start) -> None:
    start(Say(BAD, tokens=(100, 50)))
    purse = _Purse(10_000)
    assert error(ask(schema=SCHEMA, known={"meter": purse})) == "contract"
    assert [(*used[:3], round(used[3], 6)) for used in purse.added] == [("small", 100, 50, 0.0006)] * 2


def test_the_runs_budget_ends_it_before_it_asks_again(start: Start) -> None:
    server = start(Say(BAD, tokens=(100, 50)))
    assert error(ask(schema=SCHEMA, known={"meter": _Purse(150)})) == "budget" and len(server.asked) == 1
    assert error(ask(schema=SCHEMA, known={"meter": _Purse(1e9, 0.0006)})) == "budget" and len(server.asked) == 2
    output(ask(known={"meter": _Purse(40)}))
    assert server.asked[-1]["max_tokens"] == 40


@pytest.mark.parametrize(
    ("said", "cls", "again"),
    [
        (Refuse(401, "Incorrect API key provided", "invalid_api_key"), "refused", False),
        (Refuse(403, "no"), "refused", False),
        (Refuse(404, "The model does not exist", "model_not_found"), "http_4xx", False),
        (Refuse(400, "maximum context length is 8192 tokens", "context_length_exceeded"), "input", False),
        (Refuse(400, "prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error"), "input", False),
        (Refuse(429, "Rate limit", "rate_limit_error", {"retry-after": "7"}), "rate_limited", True),
        (Refuse(500, "oops"), "http_5xx", True),
        (Refuse(529, "Overloaded", "overloaded_error"), "http_5xx", True),
        (Say("I cannot help.", finish="content_filter"), "refused", False),
        (Raw((b'data: {"type":"error","error":{"type":"overloaded","message":"Busy"}}\n\n',)), "network", True),
        (Raw((b"data: {\n\n",)), "network", True),
        (Raw((b"data: [1]\n\n",)), "network", True),
        (Raw((b'data: {"choices": 7, "type": "message_start", "message": 7}\n\n',)), "network", True),
        (Raw((b": nothing\n\n",)), "network", True),
        (Raw((b"data: \xff\xfe\n\n",)), "network", True),
        (Raw((b"data: " + b"x" * 1_100_000,)), "network", True),
        (Raw((b"[",), kind="application/json"), "network", True),
        (Raw((b"[" * 100_000,), kind="application/json"), "network", True),
        (Raw((b": keep-alive\n\n" * 4096,), forever=True), "limit", False),
        (Raw((b": keep-alive\n\n",), pause=0.05, forever=True), "timeout", True),
    ],
)  # fmt: skip
def test_what_goes_wrong_has_a_class_and_a_sentence(start: Start, said: Any, cls: str, again: bool) -> None:
    start(said)
    attempted = ask(known={"timeout": 1.0 if cls == "timeout" else 20.0})
    assert error(attempted) == cls, attempted.stored
    assert isinstance(attempted.outcome, Retry) is again and attempted.stored["message"].endswith(".")
    if isinstance(attempted.outcome, Retry) and cls == "rate_limited":
        assert attempted.outcome.after == 7.0


def test_the_model_reads_no_secret_of_a_tool_s_connection(start: Start, connect: Callable[..., str]) -> None:
    connect(path="", auth={"type": "bearer", "secret": "s"})
    no_arguments = {"type": "object", "properties": {}}
    tools = [
        {"name": name, "description": "Looks.", "parameters": no_arguments,
         "do": {"http": {"connection": "world", "path": path}}}
        for name, path in (("echo", "/echo"), ("no", "/refuses/3"))
    ]  # fmt: skip
    server = start(Say(calls=(("echo", "{}"), ("no", "{}"))), Say("Seen."))
    attempted = ask(tools=tools)
    assert [call["ok"] for call in output(attempted)["calls"]] == [True, False]
    assert "•••" in json.dumps(server.asked, ensure_ascii=False)
    assert SECRET not in json.dumps(server.asked) and SECRET not in json.dumps(attempted.stored)


def test_the_key_is_masked_wherever_it_comes_back(start: Start) -> None:
    start(Say(f"Your key is {KEY}."))
    attempted = ask()
    assert KEY in attempted.masked and KEY not in json.dumps(attempted.stored)


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ({"prompt": "x", "messages": [{"content": "y"}]}, "config"),
        ({}, "config"),
        ({"messages": [{"role": "assistant", "content": "y"}]}, "config"),
        ({"prompt": "x", "max_tokens": 0}, "config"),
        ({"prompt": "x", "temperature": 3}, "config"),
        ({"prompt": "x", "tools": [LOOK, LOOK]}, "config"),
        ({"prompt": "x", "tools": [{**LOOK, "name": "answer"}]}, "config"),
        ({"prompt": "x", "tools": [{**LOOK, "do": {"ssh": {}}}]}, "config"),
        ({"prompt": "x", "tools": [{**LOOK, "do": {"kv": {"get": {"key": "⟦ args.key ⟧"}}}}]}, "refused"),
        ({"prompt": "x", "connection": "web"}, "refused"),
        ({"prompt": "x", "connection": "nowhere"}, "refused"),
    ],
)
def test_hostile_configs_are_refused_before_anything_is_asked(start: Start, config: Any, cls: str) -> None:
    server = start()
    create_connection(actor=ADMIN, name="web", kind="http", settings={"base_url": server.url})
    with pytest.raises(ResolveError) as refused:
        resolve("llm", {"connection": "brain", **config}, {"input": {"space": "s"}})
    assert refused.value.error.cls == cls and server.asked == []


def test_trying_the_connection_says_what_to_do(start: Start) -> None:
    start(model="small")
    assert probe.test_connection(actor=ADMIN, name="brain").message == "It is reached and has 2 models."
    nowhere = {"base_url": "http://127.0.0.1:9/v1", "allow_networks": ["127.0.0.0/8"]}
    create_connection(actor=ADMIN, name="lost", kind="llm", settings=nowhere)
    assert "was not reached" in probe.test_connection(actor=ADMIN, name="lost").message
