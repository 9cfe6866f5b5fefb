"""The running program, the people in front of it, and the outside: what the story is played with."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.services import ROOT
from tests.stack import Stack

BODIES: list[dict[str, Any]] = json.loads((ROOT / "tests/data/github_release.json").read_text())["bodies"]
AXE = ROOT / "node_modules/axe-core/axe.min.js"
#: seconds within which something must be on the screen; the promises are far shorter, the machine has other work
BOUND = 2.0
FLOW = "release-approval"
PUBLISHED = next(body for body in BODIES if body["action"] == "published")
TITLE = "Deploy hello-world v0.0.1 to production"
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
#: people the demo does not have: one who may start and review, one who may see nothing of the demo's folder
_MORE_PEOPLE = """
from django.contrib.auth.models import Group, User
from resources.models import Grant
both = User.objects.create_user("both", password="{password}")
both.groups.add(Group.objects.get(name="release-managers"))
for role in ("operator", "reviewer"):
    Grant.objects.create(user=both, folder="", role=role)
stranger = User.objects.create_user("stranger", password="{password}")
for role in ("viewer", "reviewer"):
    Grant.objects.create(user=stranger, folder="elsewhere", role=role)
"""
#: resolves with Date.now() at the first frame in which the text is in the element
_WATCH = """([selector, text]) => { window.sight = new Promise((seen) => {
  const look = () => document.querySelector(selector)?.textContent.includes(text)
    ? seen(Date.now()) : requestAnimationFrame(look);
  look(); }); }"""


class LaggingPage(AssertionError):
    """Something was not on the screen in time."""


@dataclass
class Stage:
    """One running program. `delays`: what was seen when, in milliseconds, printed at the end."""

    stack: Stack
    browser: Any
    info: dict[str, Any] = field(init=False)
    tokens: dict[str, str] = field(default_factory=dict)
    contexts: list[Any] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    delays: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.info = self.stack.demo_info()
        self.stack.manage("shell", "-c", _MORE_PEOPLE.format(password=self.password))

    @property
    def password(self) -> str:
        return str(self.info["sign_in"]["password"])

    # -- the outside --------------------------------------------------------------------------------------

    def send(self, address: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON) of one request: GET without a body, else POST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(address, body, named)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def deliver(self, body: dict[str, Any], delivery: str, *, secret: str = "") -> tuple[int, Any]:
        """A webhook delivery as GitHub sends it."""
        raw = json.dumps(body).encode()
        key = (secret or self.info["webhook_secret"]).encode()
        return self.send(
            self.info["hook_url"],
            raw,
            Content_Type="application/json",
            X_GitHub_Event="release",
            X_GitHub_Delivery=delivery,
            X_Hub_Signature_256="sha256=" + hmac.new(key, raw, hashlib.sha256).hexdigest(),
        )

    def arrive(self) -> str:
        """One published release, delivered; its run."""
        status, told = self.deliver(PUBLISHED, str(uuid.uuid4()))
        assert (status, told["status"]) == (202, "started")
        return str(told["run"])

    def effects(self, run: str = "") -> list[dict[str, Any]]:
        """What really happened outside, of one run or of all."""
        _, rows = self.send(self.info["world_url"] + "/effects")
        return [row for row in rows if row["key"].startswith(run)]

    # -- the API ------------------------------------------------------------------------------------------

    def api(self, name: str, path: str, body: Any = None, *, kind: str = "application/json") -> tuple[int, Any]:
        """As a person, with a token of theirs. Text is sent as it is, anything else as JSON."""
        if name not in self.tokens:
            self.tokens[name] = self.stack.manage("create_token", name).strip()
        raw = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        bearer = f"Bearer {self.tokens[name]}"
        return self.send(f"{self.stack.url}/api/v1{path}", raw, Authorization=bearer, Content_Type=kind)

    def run(self, run: str) -> dict[str, Any]:
        _, found = self.api("admin", f"/runs/{run}")
        return dict(found)

    def events(self, run: str) -> list[dict[str, Any]]:
        _, found = self.api("admin", f"/runs/{run}/events?limit=200")
        return list(found["items"])

    def request_of(self, run: str) -> dict[str, Any]:
        """The open approval request of a run, once there is one."""
        found = until(lambda: next((a for a in self._open() if a["run"] == run), None), f"no request of {run}")
        return dict(found)

    def _open(self) -> list[dict[str, Any]]:
        _, found = self.api("admin", "/approvals?status=open&limit=200")
        return list(found["items"])

    def decide(self, name: str, request: dict[str, Any], verdict: str, **more: Any) -> tuple[int, Any]:
        said: dict[str, Any] = {
            "decision": verdict,
            "digest": request["digest"],
            "comment": "Said over the API.",
            **more,
        }
        return self.api(name, f"/approvals/{request['id']}/decisions", said)

    def clear(self) -> None:
        """Nothing waits for anybody: each scene starts with empty inboxes."""
        for request in self._open():
            self.decide("reviewer", request, "reject", comment="The scene is over.")
        until(lambda: not self._open(), "requests stay open")

    # -- people in front of a browser ---------------------------------------------------------------------

    def sign_in(self, name: str, path: str = "/", *, size: str = "wide", theme: str = "light") -> Any:
        """A browser of their own, signed in through the form, at `path`; its complaints are gathered."""
        width, height = SIZES[size]
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
        )
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.stack.url + path)
        page.fill("#username", name)
        page.fill("#password", self.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(self.stack.url + path)
        return page

    def leave(self) -> None:
        for context in self.contexts:
            context.close()
        self.contexts.clear()

    def at_event(self, run: str, kind: str, step: str = "") -> float:
        """When an event happened, in epoch milliseconds."""
        event = until(
            lambda: next((e for e in self.events(run) if e["type"] == kind and step in ("", e["step"])), None),
            f"no {kind} in {run}",
        )
        return datetime.fromisoformat(event["at"]).timestamp() * 1000

    def noted(self, what: str, milliseconds: float) -> None:
        self.delays.setdefault(what, []).append(milliseconds)

    def tell(self) -> None:
        for what, found in self.delays.items():
            listed = ", ".join(f"{ms:.0f}" for ms in sorted(found))
            sys.stderr.write(f"[{what}: {listed} ms]\n")


def until(ask: Callable[[], Any], complaint: str, seconds: float = 60.0) -> Any:
    """The first answer that is not false; LaggingPage when there is none in time."""
    end = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > end:
            raise LaggingPage(complaint)
        time.sleep(0.05)
    return found


def mark(page: Any) -> None:
    """Leaves a mark that a reload or a navigation would wipe out."""
    page.evaluate("window.kept = true")


def not_reloaded(page: Any) -> bool:
    return bool(page.evaluate("window.kept === true"))


def watch(page: Any, selector: str, text: str) -> None:
    """From now on look, frame by frame, for `text` in the element; `sighted` says when it was there."""
    page.evaluate(_WATCH, [selector, text])


def sighted(page: Any, seconds: float) -> float:
    """Epoch milliseconds of the first frame that showed what `watch` looks for."""
    bound = "new Promise((_, no) => setTimeout(() => no(new Error('not on the screen in time')), %d))"
    found: float = page.evaluate(f"Promise.race([window.sight, {bound % (seconds * 1000)}])")
    return found


def connected(page: Any) -> None:
    """Wait until the page hears of changes."""
    page.wait_for_selector("[data-live-dot]:not([hidden]) >> text=Live", state="attached")
    page.wait_for_timeout(300)  # the fetches that follow the connection


def axe(page: Any) -> list[str]:
    page.evaluate(AXE.read_text() + ";0")
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then((r) => r.violations)")
    return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found]


def shot(page: Any, name: str) -> None:
    """A picture into the folder of SHOTS, if there is one: for the README, not for the test."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
