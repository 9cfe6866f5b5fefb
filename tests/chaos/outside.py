"""HTTP as the outside speaks it to two hosts of which one may be down: tried again until somebody answers."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tests.chaos.catalog import HOOK_SECRET

#: seconds after which a request that nobody takes is a finding of its own
PATIENCE = 120.0


class NobodyAnswers(AssertionError):
    """No host took a request for PATIENCE seconds."""


class Outside:
    def __init__(self, urls: Sequence[str], token: str) -> None:
        self.hosts = [urlsplit(url).netloc for url in urls]
        self.token = token
        self.turned_away = 0  # answers of 5xx and broken connections: retried

    def once(self, host: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Raises OSError, HTTPException, ValueError where there is no whole answer."""
        connection = http.client.HTTPConnection(host, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    def send(
        self, dice: random.Random, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """To any host, again until one says something final (below 500, not 429)."""
        raw = json.dumps(body).encode() if body is not None else b""
        named = {"content-type": "application/json", **(headers or {})}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                status, told = self.once(dice.choice(self.hosts), method, path, raw, named)
                if status < 500 and status != 429:
                    return status, told
            except (OSError, http.client.HTTPException, ValueError):
                pass
            self.turned_away += 1
            time.sleep(dice.uniform(0.05, 0.3))
        raise NobodyAnswers(f"{method} {path}")

    def api(self, dice: random.Random, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.send(dice, method, f"/api/v1{path}", body, {"authorization": f"Bearer {self.token}"})

    def hook(self, dice: random.Random, body: dict[str, Any], delivery: str) -> tuple[int, Any]:
        raw = json.dumps(body).encode()
        signature = "sha256=" + hmac.new(HOOK_SECRET.encode(), raw, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature-256": signature, "x-github-delivery": delivery}
        return self.send(dice, "POST", "/hooks/chaos-pay/in", body, headers)


class Crew:
    """Threads that each do one errand after the other; what goes wrong in them ends the campaign."""

    def __init__(self, size: int) -> None:
        self.errands: list[tuple[float, Any]] = []
        self.lock = threading.Condition()
        self.failed: list[BaseException] = []
        self.busy = 0
        self.closed = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(size)]
        for thread in self.threads:
            thread.start()

    def later(self, seconds: float, errand: Any) -> None:
        """`errand()` in a thread, some time from now."""
        with self.lock:
            self.errands.append((time.monotonic() + seconds, errand))
            self.lock.notify()

    def idle(self) -> bool:
        with self.lock:
            return not self.errands and not self.busy

    def _next(self) -> Any:
        with self.lock:
            while not self.closed:
                self.errands.sort(key=lambda pair: pair[0])
                wait = self.errands[0][0] - time.monotonic() if self.errands else None
                if wait is not None and wait <= 0:
                    self.busy += 1
                    return self.errands.pop(0)[1]
                self.lock.wait(wait)
        return None

    def _work(self) -> None:
        while (errand := self._next()) is not None:
            try:
                errand()
            except Exception as error:  # noqa: BLE001  reported by the campaign
                self.failed.append(error)
            finally:
                with self.lock:
                    self.busy -= 1

    def close(self) -> None:
        with self.lock:
            self.closed = True
            self.lock.notify_all()
