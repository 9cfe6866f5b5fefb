"""The http family against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.base import Fail, Retry
from flows.steps.http.answer import MAX_EXCERPT, read, retry_after
from flows.steps.registry import family
from resources.access import Actor
from resources.connections import delete_connection, update_connection
from resources.connections import resolve as resolve_connection
from resources.secrets import point_secret, set_secret
from tests.families.attempt import NOW, attempt, error, output, resolve
from tests.families.conftest import SECRET
from tests.families.outside import Outside, closed_port
from tests.resources.vault import fake_vault

Connect = Callable[..., str]
ADMIN = Actor.system("tests")


def retry(attempted: Any) -> Retry:
    assert isinstance(attempted.outcome, Retry), attempted.outcome
    return attempted.outcome


def test_sends_what_was_resolved_and_gives_back_the_answer(connect: Connect, outside: Outside) -> None:
    connect()
    config = {
        "connection": "world", "method": "POST", "path": "/deploy", "headers": {"X-Team": "payments"},
        "query": {"dry": False, "tag": ["a", "b"], "x": None}, "json": {"version": "v1", "é": 2**60},
    }  # fmt: skip
    out = output(attempt("http", config))
    (seen,) = outside.seen
    assert (seen.method, seen.path) == ("POST", "/api/deploy?dry=false&tag=a&tag=b")
    assert seen.headers["x-team"] == "payments"
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {"version": "v1", "é": 2**60}
    assert out["status"] == 200
    assert out["body"]["method"] == "POST"
    assert out["headers"]["etag"] == '"e1"'
    assert "set-cookie" not in out["headers"]
    assert out["url"] == f"{outside.url}/api/deploy?dry=false&tag=a&tag=b"


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ({"form": {"a": "1 2", "b": True, "c": None}}, "application/x-www-form-urlencoded", b"a=1+2&b=true"),
        ({"body": "plain é"}, "text/plain; charset=utf-8", "plain é".encode()),
        ({"body": "<a/>", "headers": {"Content-Type": "application/xml"}}, "application/xml", b"<a/>"),
        ({"json": None}, "application/json", b"null"),
    ],
)
def test_sends_each_kind_of_body(
    connect: Connect, outside: Outside, body: dict[str, Any], content_type: str, sent: bytes
) -> None:
    connect()
    output(attempt("http", {"connection": "world", "method": "POST", **body}))
    assert outside.seen[0].headers["content-type"] == content_type
    assert outside.seen[0].body == sent


def test_the_action_shows_the_whole_address_and_every_default(connect: Connect, outside: Outside) -> None:
    connect(auth={"type": "api_key", "secret": "key", "header": "X-Key"})
    action = resolve("http", {"connection": "world", "path": "status", "query": {"q": "a b"}})
    assert action.connection == resolve_connection("world").to_json()
    assert action.config == {
        "method": "GET",
        "url": f"{outside.url}/api/status?q=a+b",
        "headers": {},
        "ok": ["2xx"],
        "response": "auto",
        "max_bytes": 1024 * 1024,
    }
    assert family("http").describe(action) == f"GET {outside.url}/api/status?q=a+b through the connection world"


def test_a_reviewer_reads_what_will_be_sent(connect: Connect, outside: Outside) -> None:
    connect()
    action = resolve("http", {"connection": "world", "method": "POST", "path": "deploy", "json": {"version": "v1"}})
    sentence = f"POST {outside.url}/api/deploy with version v1 through the connection world"
    assert family("http").describe(action) == sentence


@pytest.mark.parametrize(
    "path", ["../admin", "a/../../b", "%2e%2e/x", "a/%252e%252e/b", "..%2fx", "a\\..\\b", "a%5c..%5cb", "//evil.test/x",
             "http://evil.test/", "x#y", "x\ny"]
)  # fmt: skip
def test_a_path_cannot_leave_the_connections_address(connect: Connect, path: str) -> None:
    connect()
    with pytest.raises(ResolveError) as raised:
        resolve("http", {"connection": "world", "path": "${{ input.path }}"}, {"input": {"path": path}})
    assert raised.value.error.cls in ("refused", "config")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.test/",
        "file:///etc/passwd",
        "http://",
        "http://u:p@a.test/",
        "http://a.test:x/",
        "a.test",
        "http://a b/",
    ],
)
def test_a_whole_address_must_be_a_plain_http_one(url: str) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve("http", {"url": "${{ input.url }}"}, {"input": {"url": url}})
    assert raised.value.error.cls == "refused"


def test_a_header_cannot_smuggle_another(connect: Connect) -> None:
    connect()
    config = {"connection": "world", "headers": {"X-Name": "${{ input.name }}"}}
    with pytest.raises(ResolveError):
        resolve("http", config, {"input": {"name": "a\r\nX-Admin: 1"}})


def test_a_connection_that_does_not_exist_is_refused(db: None) -> None:
    with pytest.raises(ResolveError) as raised:
        resolve("http", {"connection": "nowhere"})
    assert raised.value.error.cls == "refused"
    assert "nowhere" in raised.value.message


@pytest.mark.parametrize(
    ("status", "cls", "retried", "acted"),
    [
        (400, "http_4xx", False, None),
        (404, "http_4xx", False, None),
        (408, "http_4xx", True, False),
        (425, "http_4xx", True, False),
        (429, "http_429", True, False),
        (500, "http_5xx", True, True),
        (503, "http_5xx", True, True),
    ],
)
def test_classifies_an_answer(connect: Connect, status: int, cls: str, retried: bool, acted: bool | None) -> None:
    connect(path="")
    attempted = attempt("http", {"connection": "world", "path": f"/status/{status}"})
    assert error(attempted) == cls
    assert isinstance(attempted.outcome, Retry) is retried
    if isinstance(attempted.outcome, Retry):
        assert attempted.outcome.acted is acted
    assert attempted.stored["details"]["status"] == status


def test_a_flow_may_expect_other_statuses(connect: Connect) -> None:
    connect(path="")
    config = {"connection": "world", "path": "/status/404", "ok": ["2xx", 404]}
    assert output(attempt("http", config))["status"] == 404
    assert error(attempt("http", {**config, "path": "/status/201", "ok": [200]})) == "http_4xx"


def test_the_other_side_says_when_to_come_back(connect: Connect) -> None:
    connect(path="")
    assert retry(attempt("http", {"connection": "world", "path": "/status/429?after=17"})).after == 17.0
    assert retry(attempt("http", {"connection": "world", "path": "/status/503?after=3"})).after == 3.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("99999999999", 86400.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_reads_both_forms_of_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_nobody_listening_means_nothing_was_sent(connect: Connect) -> None:
    connect(base_url=f"http://127.0.0.1:{closed_port()}")
    failed = retry(attempt("http", {"connection": "world"}))
    assert (failed.error.cls, failed.acted) == ("connect", False)


def test_a_dropped_exchange_may_have_acted(connect: Connect) -> None:
    connect(path="")
    failed = retry(attempt("http", {"connection": "world", "method": "POST", "path": "/drop"}))
    assert (failed.error.cls, failed.acted) == ("network", True)


@pytest.mark.parametrize("path", ["/silent", "/drip"])
def test_the_whole_exchange_ends_at_the_timeout(connect: Connect, path: str) -> None:
    connect(path="")
    failed = retry(attempt("http", {"connection": "world", "path": path}, timeout=0.3))
    assert (failed.error.cls, failed.acted) == ("timeout", True)


def test_a_longer_answer_than_allowed_fails(connect: Connect) -> None:
    connect(path="")
    config = {"connection": "world", "path": "/bytes/1001", "max_bytes": 1000}
    assert error(attempt("http", config)) == "limit"
    assert output(attempt("http", {**config, "path": "/bytes/1000"}))["body"] == "x" * 1000


def test_loopback_is_refused_without_permission(outside: Outside) -> None:
    attempted = attempt("http", {"url": outside.url})
    assert error(attempted) == "refused"
    assert isinstance(attempted.outcome, Fail)
    assert outside.seen == []


def test_follows_a_few_redirects_of_a_get_without_taking_credentials_elsewhere(
    connect: Connect, outside: Outside
) -> None:
    connect(path="", auth={"type": "api_key", "secret": "key", "header": "X-Key"})
    elsewhere = outside.url.replace("127.0.0.1", "localhost")
    output(attempt("http", {"connection": "world", "path": "/redirect", "query": {"to": f"{elsewhere}/echo"}}))
    assert [seen.headers.get("x-key") for seen in outside.seen] == [SECRET, None]


def test_a_loop_of_redirects_ends(connect: Connect, outside: Outside) -> None:
    connect(path="")
    assert error(attempt("http", {"connection": "world", "path": "/loop"})) == "refused"
    assert len(outside.seen) == 6


def test_a_post_is_not_redirected(connect: Connect, outside: Outside) -> None:
    connect(path="")
    attempted = attempt("http", {"connection": "world", "method": "POST", "path": "/redirect?status=307&to=/echo"})
    assert error(attempted) == "http_4xx"
    assert len(outside.seen) == 1


@pytest.mark.parametrize(
    ("how", "query", "body"),
    [
        ("auto", "type=application/json&body=[1,2]", [1, 2]),
        ("auto", "type=application/problem%2Bjson&body={}", {}),
        ("auto", "type=application/json&body=%7Bno", "{no"),
        ("auto", "type=text/plain&body=[1]", "[1]"),
        ("json", "type=text/plain&body=[1]", [1]),
        ("text", "type=application/json&body=[1]", "[1]"),
        ("auto", "type=text/plain;charset=nonsense&body=%C3%A9", "é"),
        ("auto", "type=application/json&body=%20", None),
    ],
)
def test_reads_the_answer_as_asked(connect: Connect, how: str, query: str, body: Any) -> None:
    connect(path="")
    assert output(attempt("http", {"connection": "world", "path": f"/text?{query}", "response": how}))["body"] == body


@pytest.mark.parametrize(("body", "cls"), [("no", "input"), ("NaN", "input"), ("[" * 70 + "]" * 70, "limit")])
def test_an_answer_that_is_no_json_or_too_deep_fails(connect: Connect, body: str, cls: str) -> None:
    connect(path="")
    assert error(attempt("http", {"connection": "world", "path": f"/text?body={body}", "response": "json"})) == cls


def test_a_connection_changed_since_the_action_was_resolved_sends_nothing(connect: Connect, outside: Outside) -> None:
    connect()
    action = resolve("http", {"connection": "world", "method": "POST"})
    settings = resolve_connection("world").settings.model_dump(mode="json")
    update_connection(actor=ADMIN, name="world", settings={**settings, "headers": {"x-new": "1"}})
    assert error(attempt("http", {}, action=action)) == "conflict"
    delete_connection(actor=ADMIN, name="world")
    assert error(attempt("http", {}, action=action)) == "refused"
    assert outside.seen == []


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "secret": "s"},
        {"type": "basic", "secret": "s", "username": "bot"},
        {"type": "api_key", "secret": "s", "header": "X-Key"},
    ],
)
def test_credentials_echoed_by_the_other_side_are_masked(
    connect: Connect, outside: Outside, auth: dict[str, str]
) -> None:
    connect(path="", auth=auth)
    for path in ("/echo", "/status/400", "/status/500"):
        attempted = attempt("http", {"connection": "world", "path": path})
        header = "x-key" if auth["type"] == "api_key" else "authorization"
        sent = outside.seen[-1].headers[header]
        assert sent
        assert sent.rpartition(" ")[2] not in json.dumps(attempted.stored)
        assert SECRET in attempted.masked


def test_a_secret_that_the_end_of_an_excerpt_would_cut_is_not_shown_by_halves(connect: Connect) -> None:
    connect(path="", auth={"type": "bearer", "secret": "s"})
    for before in (MAX_EXCERPT - 5, MAX_EXCERPT - len(SECRET) // 2, MAX_EXCERPT - len(SECRET) + 1):
        attempted = attempt("http", {"connection": "world", "path": f"/refuses/{before}"})
        assert attempted.stored["class"] == "http_4xx"
        assert SECRET[:5] not in json.dumps(attempted.stored)


def test_a_rotated_secret_is_used_at_once(connect: Connect, outside: Outside) -> None:
    connect(auth={"type": "bearer", "secret": "s"})
    action = resolve("http", {"connection": "world"})
    set_secret(actor=ADMIN, name="s", value="another-value")
    attempt("http", {}, action=action)
    assert outside.seen[0].headers["authorization"] == "Bearer another-value"


@pytest.mark.parametrize(
    ("method", "honours", "repeatable"),
    [
        ("GET", False, True),
        ("HEAD", False, True),
        ("POST", False, False),
        ("DELETE", False, False),
        ("POST", True, True),
    ],
)
def test_a_lost_attempt_is_repeated_only_where_that_is_safe(
    connect: Connect, method: str, honours: bool, repeatable: bool
) -> None:
    connect(honours_idempotency_key=honours)
    action = resolve("http", {"connection": "world", "method": method})
    assert family("http").repeatable(action, resolve_connection("world").settings) is repeatable


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "RAW-Unicode-Escape"])
def test_an_answer_does_not_choose_one_of_pythons_own_codecs(charset: str) -> None:
    assert read(rb"a-\ud800", f"text/plain; charset={charset}", "auto") == "a-\\ud800"


def test_a_secret_that_cannot_be_had_now_is_tried_again_and_nothing_is_sent(
    connect: Connect, outside: Outside, settings: Any
) -> None:
    connect(auth={"type": "bearer", "secret": "s"})
    with fake_vault() as vault:
        vault.put("secret/ci", value="value-in-vault-4711")
        settings.VAULT = {"address": vault.address, "token": "root-token", "cache_seconds": 0.0}
        point_secret(actor=ADMIN, name="s", source="vault", locator={"path": "ci"})
        vault.sealed = True
        found = retry(attempt("http", {"connection": "world", "path": "/ok"}))
        assert (found.error.cls, found.acted) == ("connect", False)
        assert found.error.message == "The secret s cannot be read: Vault is sealed. Somebody has to unseal it."
        assert outside.seen == []
        vault.sealed = False
        done = attempt("http", {"connection": "world", "path": "/ok"})
        assert outside.seen[0].headers["authorization"] == "Bearer value-in-vault-4711"
        assert "value-in-vault-4711" in done.masked
