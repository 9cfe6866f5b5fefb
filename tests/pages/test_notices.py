"""One's notices: the page, the bell, what is read, what one does not want; the same in the API."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from resources.access import Actor
from resources.models import AuditEntry, Notice, NoticeDelivery
from resources.notices import forgetting, inbox, people
from resources.notices.kinds import KINDS
from tests.pages.test_browser import axe, lively, visit

SignIn = Callable[[str], Client]
__all__ = ["lively", "visit"]  # fixtures
pytestmark = pytest.mark.db_matrix


def told(place: dict[str, Any], *keys: str, name: str = "ana", at: float = 1_800_000_000.0, **more: Any) -> None:
    for n, key in enumerate(keys):
        known = {"kind": "message", "title": f"About {key}", "text": "**Bold** <script>no</script>", **more}
        people.tell([place["people"][name].pk], key=key, now=at + n, **known)


def test_the_list_is_newest_first_mine_only_and_rendered_safely(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, "one", "two")
    told(place, "other", name="mira")
    page = sign_in("ana").get("/notices")
    assert [n["title"] for n in page.context["items"]] == ["About two", "About one"]
    text = page.content.decode()
    assert "<strong>Bold</strong> &lt;script&gt;" in text and "<script>no" not in text
    assert 'id="bell-count">2' in text


def test_the_bell_asks_for_its_count_alone(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, "one")
    text = sign_in("ana").get("/notices", headers={"HX-Request": "true", "HX-Target": "bell-watch"}).content.decode()
    assert "1<span" in text and 'id="bell-watch"' in text and "<html" not in text


def test_opening_one_marks_it_read_and_leads_where_it_points(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, "one", url="/runs")
    row, client = Notice.objects.get(), sign_in("ana")
    assert client.get(f"/notices/{row.pk}/read").status_code == 405
    assert sign_in("mira").post(f"/notices/{row.pk}/read").status_code == 404
    assert Notice.objects.get().read_at is None
    assert client.post(f"/notices/{row.pk}/read", {"open": "1"}).headers["location"] == "/runs"
    first = Notice.objects.get().read_at
    assert first is not None
    client.post(f"/notices/{row.pk}/read")
    assert Notice.objects.get().read_at == first


def test_marking_all_leaves_what_came_while_one_looked(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, "one", "two")
    client = sign_in("ana")
    seen = client.get("/notices").context["newest"]
    told(place, "late", at=seen + 5)
    client.post("/notices/read", {"up_to": repr(seen)})
    assert [n["title"] for n in client.get("/notices?show=unread").context["items"]] == ["About late"]
    assert client.post("/notices/read", {"up_to": "nan"}).status_code == 422


def test_who_muted_a_kind_is_not_told_and_that_is_audited(sign_in: SignIn, place: dict[str, Any]) -> None:
    client = sign_in("ana")
    client.post("/notices/settings", {})
    told(place, "one")
    assert Notice.objects.count() == 0
    entry = AuditEntry.objects.get(action="notices.chosen")
    nothing: list[str] = []
    assert entry.data["before"] == {"muted": nothing, "mailed": nothing}
    assert entry.data["after"] == {"muted": sorted(KINDS), "mailed": nothing}
    client.post("/notices/settings", {"told": sorted(KINDS)})
    told(place, "two")
    assert Notice.objects.count() == 1


def test_pages_go_on_where_the_last_one_ended(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, *(f"k{n}" for n in range(65)))
    client = sign_in("ana")
    seen: list[str] = []
    cursor: str | None = ""
    for _ in range(3):
        page = client.get("/notices" + (f"?cursor={cursor}" if cursor else "")).context
        seen += [n["title"] for n in page["items"]]
        cursor = page["next"]
    assert seen == [f"About k{n}" for n in reversed(range(65))] and cursor is None
    assert client.get("/notices?cursor=zzz").status_code == 422


def test_the_api_does_what_the_page_does(sign_in: SignIn, place: dict[str, Any]) -> None:
    told(place, "one", "two", "three")
    client = sign_in("ana")

    def send(verb: str, path: str, body: Any = None) -> Any:
        return getattr(client, verb)(f"/api/v1/notices{path}", body, content_type="application/json").json()

    found = send("get", "?limit=2")
    assert [n["title"] for n in found["items"]] == ["About three", "About two"] and found["unread"] == 3
    assert len(client.get("/api/v1/notices", {"cursor": found["next_cursor"]}).json()["items"]) == 1
    assert send("post", f"/{found['items'][0]['id']}/read")["read_at"]
    assert send("post", "/read", {"up_to": found["items"][1]["at"]}) == {"marked": 2}
    assert client.get("/api/v1/notices?unread=true").json()["items"] == []
    assert send("put", "/settings", {"muted": ["message"]}) == {"muted": ["message"], "mailed": []}
    assert client.get("/api/v1/notices/settings").json() == {"muted": ["message"], "mailed": []}
    assert client.put(
        "/api/v1/notices/settings", {"muted": ["else"]}, content_type="application/json"
    ).status_code == 422  # fmt: skip


def test_what_is_no_person_has_no_notices(db: None) -> None:
    from resources.errors import NotAllowed

    with pytest.raises(NotAllowed):
        inbox.of(Actor.system("tests"))


def test_old_notices_and_deliveries_are_forgotten(place: dict[str, Any]) -> None:
    now = 1_800_000_000.0
    told(place, "old", at=now - 91 * 86_400)
    told(place, "new", at=now - 89 * 86_400)
    known = {"channel": "mail", "kind": "smtp", "run_id": "r", "step": "s", "status": "sent"}
    NoticeDelivery.objects.create(key="a", at=now - 91 * 86_400, **known)
    NoticeDelivery.objects.create(key="b", at=now, **known)
    assert forgetting.turn(now) == now + 3600
    assert Notice.objects.get().key == "new" and NoticeDelivery.objects.get().key == "b"


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "size"), [("light", "wide"), ("dark", "phone")])
def test_the_page_is_accessible_fits_and_keeps_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    problems = []
    page = visit("/notices", theme=theme, size=size)
    for name in ("empty", "full"):
        if name == "full":
            everybody = list(get_user_model().objects.values_list("pk", flat=True))
            for n in range(3):
                text = "**Bold** and `code`, then a list:\n\n- one\n- two\n" * n
                title = "Release " * (1 + 9 * n)
                people.tell(everybody, key=f"k{n}", kind="message", title=title, text=text, url="/runs", now=1.8e9 + n)
        page.goto(live_server.url + "/notices")
        if os.environ.get("SHOTS"):
            page.screenshot(path=f"{os.environ['SHOTS']}/notices-{name}-{theme}-{size}.png", full_page=True)
        problems += [f"{name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    page.click("text=Mark all as read")
    assert page.locator("[data-unread]").count() == 0
    assert problems + page.complaints == []
