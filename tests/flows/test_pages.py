"""Pages of flows without a script: plain links and forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from flows.actions import create_flow, release_draft, save_draft
from flows.models import Draft, Flow, Release
from resources.access import Actor
from runs import store
from runs.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow(author: Actor, source: str, github_secret: None) -> Flow:
    store.plan_of.cache_clear()  # a rolled back test gave its release's id away
    create_flow(actor=author, source=source)
    release_draft(actor=author, slug="greet", version="1.0.0", notes="First.", live=True)
    return Flow.objects.get()


@pytest.fixture
def signed_in(person: Callable[..., Any]) -> Callable[..., Client]:
    def enter(name: str, *roles: str, folder: str = "team") -> Client:
        for role in roles:
            person(name, role, folder)
        client = Client()
        client.force_login(person(name))
        return client

    return enter


def test_a_new_flow_starts_from_a_starter(signed_in: Any) -> None:
    ana = signed_in("ana", "author")
    assert ana.get("/flows/new").status_code == 200
    answer = ana.post(
        "/flows/new", {"slug": "fresh", "title": 'A "fresh": one', "folder": "team", "starter": "approval"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/flows/fresh/edit")
    assert Flow.objects.get().title == 'A "fresh": one'


def test_a_new_flow_in_the_wrong_place_or_with_a_bad_name_is_told_on_the_form(signed_in: Any) -> None:
    ana = signed_in("ana", "author")
    wrong = ana.post("/flows/new", {"slug": "fresh", "folder": "elsewhere", "starter": "empty"})
    assert (wrong.status_code, b"elsewhere" in wrong.content) == (403, True)
    assert ana.post("/flows/new", {"slug": "Not A Slug", "folder": "team", "starter": "empty"}).status_code == 422
    assert not Flow.objects.exists()


def test_saving_and_releasing_work_as_plain_forms(signed_in: Any, flow: Flow, source: str) -> None:
    ana = signed_in("ana", "author")
    saved = ana.post("/flows/greet/edit", {"source": source.replace("\n", "\r\n") + "# more\r\n", "revision": "1"})
    assert saved.status_code == 302
    assert Draft.objects.get().source == source + "# more\n"
    done = ana.post(
        "/flows/greet/releases", {"version": "other", "other": "v1.2.0", "notes": "n", "live": "on", "revision": "2"}
    )
    assert (done.status_code, done["Location"]) == (302, "/flows/greet")
    assert Flow.objects.get().live == Release.objects.get(version="1.2.0")
    back = ana.post("/flows/greet/live", {"version": "1.0.0"})
    assert back.status_code == 302
    assert Flow.objects.get().live == Release.objects.get(version="1.0.0")


def test_a_save_over_a_newer_draft_keeps_the_text_and_says_who_was_faster(
    signed_in: Any, flow: Flow, person: Any, source: str
) -> None:
    save_draft(actor=Actor.of_user(person("bo", "author", "team")), slug="greet", source=source + "# bo\n", revision=1)
    ana = signed_in("ana", "author")
    answer = ana.post("/flows/greet/edit", {"source": source + "# ana\n", "revision": "1"})
    page = answer.content.decode()
    assert answer.status_code == 412
    assert "bo saved revision 2" in page
    assert "# ana" in page
    assert 'name="revision" id="revision" value="2"' in page
    scripted = ana.post(
        "/flows/greet/edit", {"source": source + "# ana\n", "revision": "1"}, headers={"Accept": "application/json"}
    )
    assert (scripted.status_code, scripted.json()["error"]["details"]["updated_by"]) == (412, "bo")


def test_a_refused_release_says_why_in_the_panel(signed_in: Any, flow: Flow) -> None:
    answer = signed_in("ana", "author").post(
        "/flows/greet/releases", {"version": "1.0.0", "notes": "kept text", "revision": "1"}
    )
    assert answer.status_code == 409
    assert b"exists already" in answer.content
    assert b"kept text" in answer.content


def test_the_check_gives_problems_and_graph(signed_in: Any, source: str) -> None:
    answer = signed_in("ana", "author").post("/flows/check", {"source": source + "  - {id: b, nonsense: 1}\n"}).json()
    assert answer["graph"]["edges"] == [["rest", "b"]]
    assert any(p["severity"] == "error" and p["tone"] == "fail" for p in answer["problems"])


def test_a_run_is_started_from_the_form_and_a_double_click_is_one(signed_in: Any, flow: Flow) -> None:
    olga = signed_in("olga", "operator")
    form = olga.get("/flows/greet/start").content.decode()
    assert 'name="in.name"' in form
    posted = {"in.name": "Ada", "in.times": "2", "key": "abc"}
    first, second = olga.post("/flows/greet/start", posted), olga.post("/flows/greet/start", posted)
    run = Run.objects.get()
    assert first["Location"] == second["Location"] == f"/runs/{run.pk}"
    assert (run.input, run.trigger["kind"]) == ({"name": "Ada", "times": 2}, "manual")


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        ({}, "This is needed."),
        ({"in.name": "A", "in.times": "x"}, "Write a whole number."),
        ({"in.name": "A", "in.times": "99"}, "9"),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_starts_nothing(
    signed_in: Any, flow: Flow, posted: dict[str, str], words: str
) -> None:
    answer = signed_in("olga", "operator").post("/flows/greet/start", posted)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not Run.objects.exists()


def test_a_viewer_sees_and_changes_nothing(signed_in: Any, flow: Flow, source: str) -> None:
    vi = signed_in("vi", "viewer")
    assert b"/hooks/greet/github" in vi.get("/flows/greet").content
    assert b"Start a run" not in vi.get("/flows/greet").content
    assert b'id="save"' not in vi.get("/flows/greet/edit").content
    assert vi.post("/flows/greet/edit", {"source": source + "#", "revision": "1"}).status_code == 403
    assert vi.post("/flows/greet/live", {"version": "1.0.0"}).status_code == 403
    assert vi.post("/flows/greet/start", {"in.name": "A"}).status_code == 302
    assert not Run.objects.exists()


def test_who_has_no_grant_finds_no_flow(signed_in: Any, flow: Flow) -> None:
    stranger = signed_in("xi", "author", folder="elsewhere")
    for path in ("/flows/greet", "/flows/greet/edit", "/flows/greet/start"):
        assert stranger.get(path).status_code == 404
    assert b"greet" not in stranger.get("/flows").content
    assert Client().get("/flows")["Location"].startswith("/login")


def test_the_list_takes_the_same_queries_for_many_flows(
    signed_in: Any, flow: Flow, author: Actor, source: str, django_assert_max_num_queries: Any
) -> None:
    ana = signed_in("ana", "author", "operator")
    for n in range(12):
        create_flow(actor=author, source=source.replace("greet", f"greet-{n}", 1))
        ana.post("/flows/greet/start", {"in.name": "A", "key": str(n)})
    ana.get("/flows")
    with django_assert_max_num_queries(10):
        page = ana.get("/flows").content.decode()
    assert page.count("<tr>") == 14
    assert "Draft ahead" not in page


def test_no_get_changes_anything(signed_in: Any, flow: Flow) -> None:
    ana = signed_in("ana", "author")
    assert ana.get("/flows/greet/live").status_code == 405
    assert ana.get("/flows/greet/releases").status_code == 405
    assert ana.get("/flows/check").status_code == 405
