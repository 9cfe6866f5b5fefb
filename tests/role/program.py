"""A running program and its API, for tests of the whole of it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.stack import Stack

Json = Any
#: seconds for anything to come true; the machine has other work
PATIENCE = 200.0


@dataclass
class Program:
    """The API of a stack, as the demo's people."""

    stack: Stack
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, body: Json = None, *, person: str = "admin", token: str = "", method: str = "") -> Json:
        """The JSON of an answer; a str goes as YAML. `path`: below /api/v1, or a callback. Fails for an error."""
        if not token and person not in self.tokens:
            self.tokens[person] = self.stack.manage("create_token", person).strip()
        kind = "application/yaml" if isinstance(body, str) else "application/json"
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        bearer = {"Authorization": f"Bearer {token or self.tokens[person]}", "Content-Type": kind}
        root = self.stack.url + ("" if path.startswith("/callbacks/") else "/api/v1")
        request = urllib.request.Request(f"{root}{path}", data, bearer, method=method or None)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error

    def release(self, source: str) -> str:
        slug = source.partition("flow: ")[2].split()[0]
        self.ask("/flows", source)
        self.ask(f"/flows/{slug}/releases", {"version": "1.0.0", "live": True})
        return slug

    def start(self, slug: str, **given: Json) -> str:
        return str(self.ask(f"/flows/{slug}/runs", {"input": given})["id"])

    def run(self, run: str) -> Json:
        return self.ask(f"/runs/{run}")

    def step(self, run: str, step: str) -> str:
        found = {one["id"]: one["status"] for one in self.run(run)["steps"]}
        return str(found[step])

    def until(self, what: Callable[[], Any]) -> Any:
        """The first true value. Fails the test, with what the program said, when it does not come."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.2)
        raise AssertionError("\n".join(self.stack.lines[-40:]))

    def ended(self, run: str) -> Json:
        return self.until(lambda: (found := self.run(run))["ended_at"] and found)
