"""The line is cut, the web process is killed: nothing is lost, and the pages catch up by themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.error
import uuid
from typing import Any

import pytest

from tests.stack import group_members
from tests.story.stage import BOUND, PUBLISHED, TITLE, Stage, connected, mark, not_reloaded, sighted, until, watch

pytestmark = [pytest.mark.stack, pytest.mark.browser]


class Line:
    """The WebSocket between a page and the server, which can be cut and mended."""

    def __init__(self, page: Any) -> None:
        self.cut, self.mended_at, self.open = False, 0.0, []  # type: ignore[var-annotated]
        page.route_web_socket("**/ws/live", self._opened)
        page.reload()

    def _opened(self, here: Any) -> None:
        if self.cut:
            here.close()
            return
        self.open = [here, here.connect_to_server()]
        self.mended_at = time.time() * 1000

    def break_(self) -> None:
        self.cut = True
        for end in self.open:
            end.close()


def test_what_happened_while_the_line_was_cut_is_on_the_page_soon_after(stage: Stage) -> None:
    run = stage.arrive()
    request = stage.request_of(run)
    page = stage.sign_in("operator", f"/runs/{run}")
    line = Line(page)
    connected(page)
    mark(page)
    watch(page, "#run-head .badge", "Succeeded")
    line.break_()
    assert stage.decide("reviewer", request, "approve")[0] == 200
    until(lambda: stage.run(run)["status"] == "succeeded", "approved, and not done")
    assert page.locator("#run-head .badge >> text=Succeeded").count() == 0, "the cut line still told of it"
    line.cut = False
    seen = sighted(page, 15)
    stage.noted("missed while cut, after the line was mended", seen - line.mended_at)
    assert seen - line.mended_at < BOUND * 1000
    assert page.locator("#row-deploy >> text=Succeeded").count() == 1
    assert page.locator("#events > li").count() == len(set(page.locator("#events > li").all_inner_texts()))
    assert not_reloaded(page)


def test_the_web_process_is_killed_and_nothing_is_lost(stage: Stage) -> None:
    run = stage.arrive()
    request = stage.request_of(run)
    deciding = stage.sign_in("reviewer", f"/approvals/{request['id']}")
    watching = stage.sign_in("operator", f"/runs/{run}")
    inbox = stage.sign_in("reviewer2", "/inbox")
    for page in (deciding, watching, inbox):
        connected(page)
        mark(page)
    watch(watching, "#run-head .badge", "Succeeded")
    watch(inbox, "#inbox-new", "1 new request")
    killed = stage.stack.children()["web"]
    os.killpg(killed, signal.SIGKILL)
    until(lambda: not group_members(killed), "still there after kill -9")
    delivery = str(uuid.uuid4())
    again = until(lambda: delivered(stage, delivery), "the web process is not back", 60)
    back = time.time() * 1000
    assert stage.deliver(PUBLISHED, delivery)[1] == {"status": "duplicate", "run": again}
    stage.noted("a new request, after the web process came back", sighted(inbox, 20) - back)
    deciding.wait_for_selector("[data-live-dot] >> text=Live", state="attached")
    deciding.get_by_role("button", name="Approve…").click()
    deciding.fill("#c-name", "release-approval")
    deciding.locator("#confirm [data-confirm-submit]").click()
    deciding.wait_for_selector("#request-live >> text=Approved by you")
    sighted(watching, 20)
    assert [(e["requests"], e["applied"]) for e in stage.effects(run)] == [(1, 1)]
    assert stage.request_of(again)["title"] == TITLE
    assert not_reloaded(watching) and not_reloaded(inbox)


def delivered(stage: Stage, delivery: str) -> str:
    """The run of a delivery that is sent again until somebody takes it, as GitHub does; "" while nobody does."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        status, told = stage.deliver(PUBLISHED, delivery)
        return str(told["run"]) if status == 202 else ""
    return ""
