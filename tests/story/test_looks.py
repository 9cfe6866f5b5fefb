"""Pages that tests/pages does not see, with what the story left behind: accessible, within the policy, fitting."""

from __future__ import annotations

import pytest

from tests.story.stage import FLOW, Stage, axe, connected

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def paths(run: str, request: str) -> dict[str, str]:
    return {
        "home": "/", "run": f"/runs/{run}", "request": f"/approvals/{request}", "inbox": "/inbox", "runs": "/runs",
        "flows": "/flows", "flow": f"/flows/{FLOW}", "editor": f"/flows/{FLOW}/edit", "new flow": "/flows/new",
        "start": f"/flows/{FLOW}/start", "connections": "/connections", "kinds of connections": "/connections/new",
        "new connection": "/connections/new/http",
        "connection": "/connections/world/edit", "limits": "/connections/world/limits",
        "secrets": "/secrets", "new secret": "/secrets/new",
        "secret": "/secrets/github-hook/edit", "nothing": "/nowhere",
    }  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_every_page_is_accessible_fits_and_keeps_the_policy(theme: str, size: str, stage: Stage) -> None:
    run = stage.arrive()
    request = stage.request_of(run)
    page = stage.sign_in("admin", "/inbox", size=size, theme=theme)
    connected(page)
    problems = []
    for name, path in paths(run, request["id"]).items():
        page.goto(stage.stack.url + path)
        page.wait_for_load_state("networkidle") if name == "editor" else None
        problems += [f"{name}: {found}" for found in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    out = stage.browser.new_page(color_scheme=theme)
    out.goto(stage.stack.url + "/login")
    problems += [f"login: {found}" for found in axe(out)]
    out.close()
    expected = "status of 404"  # the address that is nowhere
    assert problems + [c for c in stage.complaints if expected not in c] == []
