"""A run that waits for the outside says for what, and how to answer; the answer is on the page at once."""

from __future__ import annotations

import re

import pytest

from tests.story.stage import BOUND, Stage, connected, mark, not_reloaded, sighted, watch

pytestmark = [pytest.mark.stack, pytest.mark.browser]
WAITS = """\
language: 1
flow: waits
title: Wait for the outside
folder: demo
triggers: [{manual: {}}]
steps:
  - id: called
    wait: {callback: {timeout: 1h}}
  - id: rest
    sleep: 1h
"""


def test_the_page_of_a_waiting_step_shows_its_address_to_operators_and_its_end(stage: Stage) -> None:
    if stage.api("author", "/flows/waits/draft")[0] == 404:
        assert stage.api("author", "/flows", WAITS, kind="application/yaml")[0] == 201
        release = {"version": "1.0.0", "notes": "", "live": True}
        assert stage.api("author", "/flows/waits/releases", release)[0] == 201
    _, run = stage.api("operator", "/flows/waits/runs", {"input": {}})
    page = stage.sign_in("operator", f"/runs/{run['id']}")
    connected(page)
    mark(page)
    line = page.locator("#side >> text=curl -X POST").inner_text()
    address = re.search(rf"{stage.stack.url}/callbacks/\S+", line)
    assert address is not None
    reviewer = stage.sign_in("reviewer", f"/runs/{run['id']}")
    reviewer.wait_for_selector("#side >> text=Waits for a call from outside")
    assert "/callbacks/" not in reviewer.content()
    watch(page, "#row-called", "Succeeded")
    assert stage.send(address[0], b'{"done": true}', Content_Type="application/json")[0] == 202
    stage.noted("step ended", sighted(page, BOUND * 5) - stage.at_event(run["id"], "step.answered", "called"))
    page.goto(f"{stage.stack.url}/runs/{run['id']}?step=rest")
    page.wait_for_selector("#side >> text=Goes on")
    mark(page)
    assert stage.api("operator", f"/runs/{run['id']}/cancel", {"reason": "Seen enough."})[0] == 200
    page.wait_for_selector("#run-head .badge >> text=Cancelled", timeout=BOUND * 1000)
    assert not_reloaded(page)
    assert stage.complaints == []
