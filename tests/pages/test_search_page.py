"""The search page: as one types, grouped, escaped, empty and broken; in a browser, wide and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.pages.test_browser import AXE, lively, visit
from tests.search.conftest import catch_up, make_resource, place

__all__ = ["lively", "place", "visit"]


def enter(place: dict[str, Any], name: str = "vera") -> Client:
    client = Client()
    client.force_login(place[name].user)
    return client


def page(client: Client, query: str, **headers: str) -> str:
    answer = client.get(f"/search{query}", headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.django_db
@pytest.mark.db_matrix
def test_results_are_grouped_marked_and_escaped(place: Any) -> None:
    make_resource("<script>alert(1)</script> crocodile <b>&", name="<i>x</i> crocodile")
    catch_up()
    shown = page(enter(place), "?q=crocodile")
    assert "<script>alert" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt; <mark>crocodile</mark>" in shown
    assert "&lt;i&gt;x&lt;/i&gt; crocodile</a>" in shown and "<i>x" not in shown
    assert "3 found" in shown and 'id="hits-run"' in shown and 'id="hits-resource"' in shown
    assert place["hidden"].pk not in shown


@pytest.mark.django_db
@pytest.mark.db_matrix
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "What do you look for?"), ("?q=+", "What do you look for?"), ("?q=zebra", "Nothing found for “zebra”"),
        ("?q=zebra&status=failed", "Search without filters"), ("?q=" + "x" * 900, "at most 500 characters"),
        ("?q=x&in=secrets", "There is no"), ("?q=x&status=odd", "The status is one of"),
        ("?q=crocodile&cursor=odd", "cursor"), ("?q=crocodile&age=never", "2 found"),
        ("?q=%22%27%3B--", "Nothing found"),
    ],
)  # fmt: skip
def test_every_state_of_the_page_says_what_it_is(place: Any, query: str, said: str) -> None:
    assert said in page(enter(place), query)


@pytest.mark.django_db
def test_as_one_types_only_the_results_come(place: Any) -> None:
    shown = page(enter(place), "?q=croco", **{"HX-Request": "true", "HX-Target": "hits"})
    assert shown.lstrip().startswith('<div id="hits"') and "<html" not in shown and "<mark>crocodile</mark>" in shown


@pytest.mark.django_db
def test_whoever_has_no_role_is_told_and_strangers_sign_in(place: Any) -> None:
    assert "You have no role here yet" in page(enter(place, "otto"), "?q=crocodile")
    assert Client().get("/search?q=crocodile").status_code == 302


@pytest.mark.django_db
def test_more_leads_to_the_next_page(place: Any) -> None:
    for n in range(25):
        make_resource(f"walrus {n}", name=f"walrus-{n}.txt")
    catch_up()
    client = enter(place)
    first = page(client, "?q=walrus&age=1d")
    following = first.partition('href="?')[2].partition('"')[0].replace("&amp;", "&")
    second = page(client, f"?{following}")
    assert "25 found" in first and first.count("data-item") == 20 and second.count("data-item") == 5


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("rail", "dark"), ("phone", "dark")])
def test_it_searches_while_one_types_and_keys_lead_through(visit: Any, size: str, theme: str, tmp_path: Path) -> None:
    catch_up()
    opened = visit("/search", size=size, theme=theme)
    opened.locator("#q").blur()
    opened.keyboard.press("/")
    opened.keyboard.type("releas")
    opened.wait_for_selector("#hits mark")
    assert "q=releas" in opened.url
    opened.locator("#q").blur()
    opened.keyboard.press("j")
    assert opened.evaluate("document.activeElement.matches('#hits [data-item]')")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.evaluate(AXE.read_text())
    found = opened.evaluate("axe.run().then((r) => r.violations.map((v) => v.id + ' ' + v.nodes[0].html))")
    assert found == [] and opened.complaints == []
    opened.screenshot(path=str(tmp_path / f"search-{size}.png"))
