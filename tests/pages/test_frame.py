"""Signing in, error pages, and what no template may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from tests.pages import seed

TEMPLATES = sorted(
    p
    for root in (settings.BASE_DIR,)
    for p in Path(root).glob("**/templates/**/*.html")
    if not {".venv", "node_modules"} & set(p.relative_to(root).parts)
)
INLINE = {
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)[^>]*>", re.I),
    "a style element": re.compile(r"<style[\s>]", re.I),
    "a style attribute": re.compile(r"<[a-z][^>]*\sstyle\s*=", re.I),
    "an event handler": re.compile(r"<[a-z][^>]*\son[a-z]+\s*=", re.I),
    "an htmx handler": re.compile(r"\shx-(on|vals=['\"]js:)", re.I),
    "a script address": re.compile(r"javascript:", re.I),
    "unescaped output": re.compile(r"\|\s*safe\b|autoescape off", re.I),
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: str(p.relative_to(settings.BASE_DIR)))
def test_no_template_needs_an_exception_from_the_policy(template: Path) -> None:
    text = template.read_text()
    assert [what for what, pattern in INLINE.items() if pattern.search(text)] == []


def test_no_element_has_the_id_of_an_icon() -> None:
    """The sprite comes first in each page: `commandfor`, labels and links would find the icon instead."""
    sprite = next(p for p in TEMPLATES if p.name == "_sprite.html")
    icons = set(re.findall(r'<symbol id="([^"]+)"', sprite.read_text()))
    assert len(icons) > 50
    clashes = {
        (path.name, found)
        for path in TEMPLATES
        if path != sprite
        for found in re.findall(r'(?<![\w-])id="([^"{]+)"', path.read_text())
    }
    assert {(name, found) for name, found in clashes if found in icons} == set()


def test_the_search_for_inline_code_finds_it() -> None:
    bad = '<script>x</script><style>x</style><p style="a"><p onclick="b"><p hx-on:click="c">'
    bad += '<a href="javascript:d">{{ e|safe }}'
    assert [what for what, pattern in INLINE.items() if not pattern.search(bad)] == []
    assert len(TEMPLATES) > 30


@pytest.mark.django_db
def test_a_person_signs_in_lands_where_they_wanted_and_signs_out(client: Client) -> None:
    seed.person("ana", roles=("viewer",))
    answer = client.post("/login", {"username": "ana", "password": seed.PASSWORD, "next": "/runs"})
    assert answer.headers["Location"] == "/runs"
    assert client.get("/logout").status_code == 405
    assert client.post("/logout").headers["Location"] == "/login"
    assert client.get("/runs").status_code == 302


@pytest.mark.django_db
def test_after_ten_failures_even_the_right_password_waits(client: Client) -> None:
    seed.person("ana")
    for _ in range(10):
        answer = client.post("/login", {"username": "ana", "password": "wrong"})
        assert answer.status_code == 200
        assert "do not match" in answer.content.decode()
    answer = client.post("/login", {"username": "Ana", "password": seed.PASSWORD})
    assert answer.status_code == 429
    assert "Too many failed attempts" in answer.content.decode()
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert client.post("/login", {"username": "other", "password": "x"}).status_code == 200


@pytest.mark.django_db
def test_an_unknown_address_gives_an_id_to_copy(client: Client) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert re.search(r'data-copy="e-[0-9a-z]{10}"', answer.content.decode())


@pytest.mark.django_db
def test_a_page_that_breaks_says_what_is_not_affected(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("for the test")

    seed.person("ana")
    client.login(username="ana", password=seed.PASSWORD)
    client.raise_request_exception = False
    monkeypatch.setattr("orchestra.home.home_page", broken)
    answer = client.get("/")
    assert answer.status_code == 500
    assert "Runs and decisions are not affected" in answer.content.decode()
    assert "for the test" not in answer.content.decode()


@pytest.mark.django_db
def test_the_theme_comes_from_its_cookie_and_nothing_else_does(client: Client) -> None:
    client.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in client.get("/login").content.decode()
    client.cookies["theme"] = '"><script>'
    assert "data-theme" not in client.get("/login").content.decode()


@pytest.mark.django_db
def test_a_form_from_elsewhere_is_refused_in_words(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    page = strict.post("/login", {"username": "a", "password": "b"})
    assert page.status_code == 403
    assert "Nothing was done" in page.content.decode() and "CSRF verification" not in page.content.decode()
    answer = strict.post("/login", {}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
