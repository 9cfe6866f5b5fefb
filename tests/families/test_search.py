"""search: the web through engines that answer in their true shapes, and Orchestra itself in real runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.registry import family
from flows.steps.search.engines import NotResults, results
from resources.access import Actor
from resources.connections import create_connection
from resources.secrets import set_secret
from tests.families.attempt import attempt, error, output, resolve
from tests.resources.server import Server, plain, serve

ADMIN = Actor.system("tests")
KEY = "BSA-0123456789-abcdef"
Json = Any
Start = Callable[..., Server]

SEARXNG = {
    "query": "orchestra", "number_of_results": 0, "answers": [], "suggestions": [], "unresponsive_engines": [],
    "results": [
        {"url": "https://example.org/a", "title": "First", "content": "The first one.", "engine": "duckduckgo",
         "engines": ["duckduckgo"], "score": 4.0, "category": "general", "publishedDate": None},
        {"url": "https://example.org/b", "title": "Second", "content": "", "engine": "wikipedia", "score": 1.0},
        {"url": "javascript:alert(1)", "title": "Bad", "content": "x"},
    ],
}  # fmt: skip
BRAVE = {
    "type": "search", "query": {"original": "orchestra"},
    "web": {"type": "search", "results": [
        {"title": "First", "url": "https://example.org/a", "is_source_local": False, "language": "en",
         "description": "The <strong>first</strong> one &amp; only.", "meta_url": {"hostname": "example.org"}},
        {"title": "Second", "url": "https://example.org/b", "description": "2 < 3 and 4 > 1"},
    ]},
}  # fmt: skip
TAVILY = {
    "query": "orchestra", "answer": None, "images": [], "response_time": 1.2, "request_id": "r-1",
    "results": [
        {"title": "First", "url": "https://example.org/a", "content": "The first one.", "score": 0.98},
        {"title": "", "url": "https://example.org/b", "content": "Second", "score": 0.5},
    ],
}  # fmt: skip
SHAPES: Mapping[str, tuple[str, Json, Json]] = {
    "searxng": ("/search", SEARXNG, {"type": "none"}),
    "brave": ("/web/search", BRAVE, {"type": "api_key", "header": "X-Subscription-Token", "secret": "engine-key"}),
    "tavily": ("/search", TAVILY, {"type": "bearer", "secret": "engine-key"}),
}


@pytest.fixture
def start(db: None) -> Iterator[Start]:
    """An engine that answers with `body`, and the connection `web` to it."""
    with ExitStack() as stack:

        def begin(engine: str, body: Json = None, status: int = 200, **headers: str) -> Server:
            path, shape, auth = SHAPES[engine]
            data = body if isinstance(body, bytes) else json.dumps(shape if body is None else body).encode()
            answer = plain(status, data, **{"Content_Type": "application/json", **headers})
            server = stack.enter_context(serve({f"/res/v1{path}": answer}))
            set_secret(actor=ADMIN, name="engine-key", value=KEY)
            settings = {"base_url": server.url("/res/v1"), "auth": auth, "allow_networks": ["127.0.0.0/8"]}
            create_connection(actor=ADMIN, name="web", kind="http", settings=settings)
            return server

        yield begin


def web(engine: str, **config: Any) -> Any:
    return attempt("search", {"connection": "web", "engine": engine, "query": 'orchestra & "flow"', **config})


@pytest.mark.django_db
@pytest.mark.parametrize("engine", list(SHAPES))
def test_each_engine_is_asked_its_way_and_answers_in_one_shape(start: Start, engine: str) -> None:
    server = start(engine)
    found = output(web(engine, limit=7))["results"]
    assert [item["url"] for item in found] == ["https://example.org/a", "https://example.org/b"]
    assert found[0]["title"] == "First" and found[0]["snippet"].startswith("The first one")
    assert all(set(item) == {"title", "url", "snippet"} and item["title"] for item in found)
    ((method, path, headers),) = server.seen
    if engine == "tavily":
        assert (method, path) == ("POST", "/res/v1/search") and headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(server.bodies[0]) == {"query": 'orchestra & "flow"', "max_results": 7}
    else:
        assert method == "GET" and "q=orchestra+%26+%22flow%22" in path
        assert ("count=7" if engine == "brave" else "format=json") in path
        assert (headers.get("x-subscription-token") == KEY) is (engine == "brave")


@pytest.mark.django_db
def test_marks_of_an_engine_become_plain_text_and_no_more_than_asked_for_is_given(start: Start) -> None:
    start("brave")
    assert output(web("brave"))["results"][0]["snippet"] == "The first one & only."
    assert output(web("brave"))["results"][1]["snippet"] == "2 < 3 and 4 > 1"
    assert len(output(web("brave", limit=1))["results"]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "cls"), [(401, "http_4xx"), (403, "http_4xx"), (422, "http_4xx"), (429, "http_429"), (503, "http_5xx")]
)
def test_refusals_of_an_engine_have_their_class(start: Start, status: int, cls: str) -> None:
    start("brave", {"type": "ErrorResponse", "error": {"code": "X", "detail": "no"}}, status)
    attempted = web("brave")
    assert error(attempted) == cls
    assert KEY not in json.dumps([attempted.stored, attempted.log, attempted.action.to_json()])


HOSTILE: Mapping[str, tuple[str, Json, str]] = {
    "no list": ("searxng", {"results": {"0": {}}}, "contract"),
    "no results": ("tavily", {"detail": "?"}, "contract"),
    "a list": ("brave", [], "contract"),
    "null": ("searxng", b"null", "contract"),
    "an error page": ("searxng", b"<html>search disabled</html>", "input"),
    "half an answer": ("searxng", b'{"results": [', "input"),
    "no text": ("searxng", b'{"results": "\xff\xfe"}', "input"),
    "too deep": ("searxng", b"[" * 5000 + b"]" * 5000, "limit"),
    "too much": ("searxng", b'{"results": ["' + b"x" * 4_200_000 + b'"]}', "limit"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", list(HOSTILE))
def test_what_is_no_answer_of_an_engine_ends_the_step_with_a_sentence(start: Start, what: str) -> None:
    engine, body, cls = HOSTILE[what]
    start(engine, body)
    attempted = web(engine)
    assert error(attempted) == cls
    assert len(attempted.stored["message"]) > 10 and len(attempted.stored["message"]) < 3000


def test_odd_results_are_left_out_and_long_ones_cut() -> None:
    url = "https://example.org/"
    odd: list[Json] = [
        None, 1, "x", [], {}, {"url": None}, {"url": "ftp://example.org"}, {"url": "https://"}, {"url": "http://[::1"},
        {"url": url + "x" * 3000}, {"url": "data:text/html,x"}, {"url": url + "a\nb"},
        {"url": url, "title": ["x"], "content": {"a": 1}},
        {"url": url, "title": "t" * 9000, "content": "<b>" * 5000 + "c" * 9000},
        {"url": url, "title": "\u202e<script>x</script>", "content": "a\0b \ud800"},
    ]  # fmt: skip
    found = results("searxng", {"results": odd}, 20)
    assert len(found) == 3 and found[0] == {"title": url, "url": url, "snippet": ""}
    assert len(found[1]["title"]) == 300 and len(found[1]["snippet"]) <= 1000
    assert "<script>" not in found[2]["title"]
    assert results("brave", {"type": "search", "query": {}}, 5) == []
    with pytest.raises(NotResults):
        results("brave", {"type": "search", "web": {}}, 5)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "config",
    [
        {"query": ""}, {"query": "x" * 501}, {"query": "x", "limit": 21}, {"query": "x", "in": ["secrets"]},
        {"query": "x", "engine": "brave"}, {"query": "x", "filters": {"owner": "me"}}, {"query": 1},
        {"query": "x", "connection": "web", "in": ["runs"]}, {"query": "x", "connection": "web", "engine": "google"},
        {"query": "x", "connection": "web", "hydrate": True},
    ],
)  # fmt: skip
def test_what_fits_no_search_is_refused_before_it_is_sent(start: Start, config: Json) -> None:
    start("searxng")
    with pytest.raises(ResolveError) as raised:
        resolve("search", config)
    assert raised.value.error.cls == "config"


@pytest.mark.django_db
def test_people_read_what_will_be_searched(start: Start) -> None:
    start("brave")
    member = family("search")
    outside = resolve("search", {"connection": "web", "engine": "brave", "query": "a\nb"})
    assert member.describe(outside) == "Searches the web through web for a b"
    assert outside.config["url"].endswith("/res/v1/web/search?q=a%0Ab&count=10")
    inside = resolve("search", {"query": "x", "in": ["runs", "flows"]})
    assert member.describe(inside) == "Searches runs, flows for x" and not member.changes(inside)
