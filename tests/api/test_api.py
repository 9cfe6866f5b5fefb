"""API v1: paths, shapes, statuses, and one envelope for every error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import get_resolver
from ninja import Schema

from flows.models import Draft, Flow, Release
from runs import controls, store
from runs.models import Run
from tests.api.conftest import Caller

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture
def ana(call_as: Callable[[Any], Caller], person: Callable[..., Any]) -> Caller:
    user = person("ana", "author", "team")
    person("ana", "operator", "team")
    return call_as(user)


def fails(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The answer is an error of this status and code, in the envelope. Gives the error."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"].startswith("application/json")
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "hint", "details"}
    assert error["code"] == code
    assert error["message"]
    return error


def test_a_flow_is_created_from_yaml_and_only_once(ana: Caller, source: str) -> None:
    made = ana.yaml("POST", "/flows", source)
    assert made.status_code == 201
    assert {k: made.json()[k] for k in ("slug", "folder", "revision", "live")} == {
        "slug": "greet",
        "folder": "team",
        "revision": 1,
        "live": None,
    }
    fails(ana.yaml("POST", "/flows", source), 409, "flow_exists")


def test_a_draft_is_read_and_saved_with_its_etag(ana: Caller, live_flow: Flow, source: str) -> None:
    read = ana("GET", "/flows/greet/draft")
    assert (read.status_code, read["Content-Type"], read["ETag"]) == (200, "application/yaml", '"1"')
    assert read.content.decode() == source
    saved = ana.yaml("PUT", "/flows/greet/draft", source + "# x\n", **{"If-Match": read["ETag"]})
    assert (saved.status_code, saved["ETag"], saved.json()["revision"]) == (200, '"2"', 2)
    error = fails(
        ana.yaml("PUT", "/flows/greet/draft", source + "# y\n", **{"If-Match": read["ETag"]}), 412, "stale_draft"
    )
    assert error["details"]["updated_by"] == "ana"
    assert Draft.objects.get().source == source + "# x\n"


def test_a_draft_comes_as_json_when_asked(ana: Caller, live_flow: Flow, source: str) -> None:
    answer = ana("GET", "/flows/greet/draft", Accept="application/json")
    assert (answer.json()["source"], answer.json()["revision"], answer["ETag"]) == (source, 1, '"1"')


def test_saving_needs_to_say_what_it_is_based_on(ana: Caller, live_flow: Flow, source: str) -> None:
    fails(ana.yaml("PUT", "/flows/greet/draft", source), 428, "precondition_required")
    fails(ana.yaml("PUT", "/flows/greet/draft", source, **{"If-Match": "abc"}), 422, "bad_if_match")
    fails(ana("PUT", "/flows/greet/draft", "{}", **{"If-Match": '"1"'}), 415, "unsupported_media_type")
    fails(
        ana("PUT", "/flows/greet/draft", b"\xff", kind="application/yaml", **{"If-Match": '"1"'}), 400, "malformed_body"
    )


def test_lint_answers_with_places_and_mends(ana: Caller) -> None:
    answer = ana.yaml("POST", "/lint", "flow: x\nsteps:\n  - {id: a, nonsense: 1}\n")
    assert answer.status_code == 200
    problem = next(p for p in answer.json()["problems"] if p["severity"] == "error")
    assert set(problem) == {"rule", "severity", "line", "column", "message", "hint"}
    assert problem["line"] == 3


def test_a_release_is_made_and_made_live(ana: Caller, live_flow: Flow) -> None:
    answer = ana("POST", "/flows/greet/releases", {"version": "1.1.0", "notes": "More.", "live": True})
    assert answer.status_code == 201
    assert (answer.json()["version"], answer.json()["live"], len(answer.json()["checksum"])) == ("1.1.0", True, 64)
    fails(ana("POST", "/flows/greet/releases", {"version": "1.1.0"}), 409, "version_exists")
    fails(ana("POST", "/flows/greet/releases", {"version": "x"}), 422, "bad_version")
    fails(ana("POST", "/flows/greet/releases", {"version": "1.2.0", "liv": True}), 422, "invalid_request")
    assert Release.objects.count() == 2


def test_a_run_is_started_once_per_key_with_checked_input(ana: Caller, live_flow: Flow) -> None:
    first = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}, "idempotency_key": "k-1"})
    assert first.status_code == 201, first.content
    run = first.json()
    assert {"id", "flow", "release", "status", "started_at", "ended_at", "input", "output", "error", "steps"} <= set(
        run
    )
    assert (run["flow"], run["release"], run["input"]) == ("greet", "1.0.0", {"name": "Ada", "times": 1})
    assert [(s["id"], s["attempts"]) for s in run["steps"]] == [("rest", 0)]
    again = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}, "idempotency_key": "k-1"})
    assert (again.status_code, again.json()["id"]) == (200, run["id"])
    fails(
        ana("POST", "/flows/greet/runs", {"input": {"name": "Bo"}, "idempotency_key": "k-1"}),
        409,
        "idempotency_mismatch",
    )
    error = fails(ana("POST", "/flows/greet/runs", {"input": {"name": 5}}), 422, "invalid_input")
    assert error["details"][0]["path"] == ["name"]
    assert Run.objects.count() == 1


def test_runs_are_paged_without_gap_or_repeat(ana: Caller, live_flow: Flow) -> None:
    made = [ana("POST", "/flows/greet/runs", {"input": {"name": str(n)}}).json()["id"] for n in range(5)]
    seen = list[str]()
    cursor: str | None = ""
    while cursor is not None:
        page = ana("GET", f"/runs?limit=2{f'&cursor={cursor}' if cursor else ''}").json()
        seen += [run["id"] for run in page["items"]]
        ana("POST", "/flows/greet/runs", {"input": {"name": "newer"}})  # rows that come meanwhile move no page
        cursor = page["next_cursor"]
    assert seen == list(reversed(made))
    fails(ana("GET", "/runs?cursor=nonsense"), 422, "bad_cursor")
    fails(ana("GET", "/runs?status=odd"), 422, "invalid_request")
    assert ana("GET", "/runs?flow=other").json() == {"items": [], "next_cursor": None}


def test_a_runs_history_is_read_from_where_one_was(ana: Caller, live_flow: Flow) -> None:
    run = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}}).json()["id"]
    page = ana("GET", f"/runs/{run}/events?limit=1").json()
    assert page["items"][0]["type"] == "run.created"
    rest = ana("GET", f"/runs/{run}/events?after={page['items'][0]['seq']}").json()
    assert all(e["seq"] > page["items"][0]["seq"] for e in rest["items"])


def test_a_run_is_cancelled(ana: Caller, live_flow: Flow) -> None:
    run = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}}).json()["id"]
    answer = ana("POST", f"/runs/{run}/cancel", {"reason": "a test"})
    assert answer.status_code == 200
    assert answer.json()["status"] in ("cancelling", "cancelled")


def test_who_sees_no_folder_finds_nothing(
    call_as: Callable[[Any], Caller], person: Callable[..., Any], ana: Caller, live_flow: Flow
) -> None:
    run = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}}).json()["id"]
    stranger = call_as(person("bo", "author", "elsewhere"))
    for method, path in [
        ("GET", "/flows/greet/draft"),
        ("GET", f"/runs/{run}"),
        ("GET", f"/runs/{run}/events"),
        ("POST", f"/runs/{run}/cancel"),
        ("GET", "/runs/nope"),
    ]:
        fails(stranger(method, path), 404, "not_found")
    fails(stranger("POST", "/flows/greet/runs", {"input": {"name": "x"}}), 404, "not_found")
    assert stranger("GET", "/runs").json()["items"] == []


def test_a_viewer_reads_but_changes_nothing(
    call_as: Callable[[Any], Caller], person: Callable[..., Any], live_flow: Flow, source: str
) -> None:
    viewer = call_as(person("vi", "viewer", "team"))
    assert viewer("GET", "/flows/greet/draft").status_code == 200
    fails(viewer.yaml("PUT", "/flows/greet/draft", source + "#", **{"If-Match": '"1"'}), 403, "not_allowed")
    fails(viewer("POST", "/flows/greet/releases", {"version": "2.0.0"}), 403, "not_allowed")
    fails(viewer("POST", "/flows/greet/runs", {"input": {"name": "x"}}), 403, "not_allowed")


def test_a_stranger_is_told_to_sign_in(call_as: Callable[[Any], Caller], db: None) -> None:
    nobody = call_as(None)
    answer = nobody("GET", "/runs")
    fails(answer, 401, "not_signed_in")
    assert answer["WWW-Authenticate"] == "Bearer"
    fails(nobody("POST", "/lint", "x"), 401, "not_signed_in")
    fails(nobody("GET", "/runs", Authorization="Bearer orc_wrong"), 401, "bad_token")


def test_a_browsers_session_needs_its_csrf_token_to_change_things(person: Callable[..., Any], live_flow: Flow) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(person("ana"))
    assert browser.get("/api/v1/runs").status_code == 200
    fails(browser.post("/api/v1/lint", "flow: x", content_type="application/yaml"), 403, "bad_csrf")
    browser.cookies[__import__("django.conf", fromlist=["settings"]).settings.CSRF_COOKIE_NAME] = "a" * 32
    assert (
        browser.post(
            "/api/v1/lint", "flow: x", content_type="application/yaml", headers={"X-CSRFToken": "a" * 32}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "body", ["{", "[1,", "NaN", '{"input": ' + "[" * 100 + "]" * 100 + "}", '{"input": "\\ud800"}']
)
def test_a_malformed_body_is_refused_before_anything_happens(ana: Caller, live_flow: Flow, body: str) -> None:
    answer = ana("POST", "/flows/greet/runs", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("malformed_body", "too_deep")
    assert not Run.objects.exists()


def test_a_large_body_is_refused(ana: Caller, live_flow: Flow) -> None:
    fails(ana("POST", "/flows/greet/runs", '{"input": "' + "x" * 1_100_000 + '"}'), 413, "too_large")
    fails(ana.yaml("POST", "/lint", "#" * 1_100_000), 413, "too_large")


def test_unknown_addresses_and_methods_have_the_envelope_too(ana: Caller) -> None:
    fails(ana("GET", "/nothing"), 404, "not_found")
    answer = ana("DELETE", "/runs")
    fails(answer, 405, "method_not_allowed")
    assert "GET" in answer["Allow"]


def test_a_bug_is_told_with_an_id_and_nothing_else(
    ana: Caller, live_flow: Flow, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(**_: Any) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("runs.actions.start_run", broken)
    error = fails(ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}}), 500, "internal")
    assert "hunter2" not in str(error)
    assert error["details"]["id"] in caplog.text


def test_the_description_and_the_documentation_name_the_same_addresses(client: Client) -> None:
    """Names of parameters aside; the documentation's start behind /api/v1."""
    described = client.get("/api/v1/openapi.json").json()["paths"]
    text = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text()
    told = re.findall(r"`(GET|HEAD|POST|PUT|DELETE|PATCH) (/[a-z0-9_{}/.-]+)", text)
    addresses = {(verb.upper(), path.removeprefix("/api/v1")) for path, verbs in described.items() for verb in verbs}

    def bare(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        return {(verb, re.sub(r"\{\w+\}", "{}", path)) for verb, path in pairs}

    assert bare(addresses) - bare(set(told)) == set()


def test_health_is_open_and_says_what_is_missing(client: Client, db: None) -> None:
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.json()["checks"]["database"] == "ok"
    assert ready.json()["checks"]["migrations"] == "ok"


@pytest.mark.parametrize("text", ['{"input": {"name": "a\\u0000b"}}', '{"input": {"\\u0000": 1}}'])
def test_an_input_with_a_null_character_is_refused(ana: Caller, live_flow: Flow, text: str) -> None:
    answer = ana("POST", "/flows/greet/runs", text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("path", ["/flows/%00/draft", "/runs?flow=%00"])
def test_an_address_with_a_null_character_is_refused_before_a_database_sees_it(ana: Caller, path: str) -> None:
    answer = ana("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed_body")


def test_a_run_that_moves_faster_than_it_is_read_can_still_be_cancelled(
    ana: Caller, live_flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ana("POST", "/flows/greet/runs", {"input": {"name": "Ada"}}).json()["id"]
    saved, overtaken = store.save, iter([True] * controls.FREE_TRIES)

    def save(*args: Any) -> Any:
        if next(overtaken, False):
            raise store.Stale
        return saved(*args)

    monkeypatch.setattr(store, "save", save)
    assert ana("POST", f"/runs/{run}/cancel", {}).status_code == 200
    assert next(overtaken, None) is None


def test_no_two_shapes_share_a_name() -> None:
    """They would be one in the contract, which is keyed by class name: the last one read wins."""
    assert get_resolver().url_patterns  # all of the API is loaded
    ours = {"resources", "flows", "runs", "approvals", "orchestra"}
    kinds = list(Schema.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()
    names = Counter({(kind.__name__, kind.__module__) for kind in kinds if kind.__module__.partition(".")[0] in ours})
    assert len(names) > 50
    assert {name: n for name, n in Counter(name for name, _ in names).items() if n > 1} == {}
