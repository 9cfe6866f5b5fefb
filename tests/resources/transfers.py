"""Large resources through a served web process, by a client that keeps nothing; and that process's memory."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Large:
    """Bytes of any size that differ from one MiB to the next."""

    mib: int

    @property
    def size(self) -> int:
        return self.mib * MIB

    def pieces(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        for index in range(first, self.mib if last is None else min(last, self.mib)):
            yield index.to_bytes(8, "big") * (MIB // 8)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Client:
    """The API of the instance at `url`, for the bearer of `token`."""

    url: str
    token: str

    def open(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=120)

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """`body`: a value (sent as JSON), or an iterator of bytes (sent in chunks, as it comes)."""
        streams = isinstance(body, Iterator)
        kind = "application/octet-stream" if streams else "application/json"
        connection = self.open()
        try:
            data = body if streams or body is None else json.dumps(body)
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
            connection.request(method, f"/api/v1{path}", data, headers, encode_chunked=streams)
            answer = connection.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
            assert answer.status < 300, found
            return found
        finally:
            connection.close()

    def upload(self, large: Large, part_mib: int = 32) -> str:
        """In parts; the id of the resource."""
        made = self.call("POST", "/uploads", {"size": large.size, "name": "large.bin"})
        for first in range(0, large.mib, part_mib):
            path = f"/uploads/{made['id']}?offset={first * MIB}"
            made = self.call("PUT", path, large.pieces(first, first + part_mib))
        done = self.call("POST", f"/uploads/{made['id']}/complete", {"sha256": large.sha256()})
        return str(done["id"])

    def download(self, resource_id: str, rest: float = 0.0) -> str:
        """The SHA-256 of what came. `rest`: seconds in which nothing is read, after the first MiB."""
        connection, digest = self.open(), hashlib.sha256()
        try:
            path = f"/api/v1/resources/{resource_id}/content"
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            while piece := answer.read(MIB):
                digest.update(piece)
                if rest:
                    time.sleep(rest)
                    rest = 0.0
        finally:
            connection.close()
        return digest.hexdigest()


def private(pid: int) -> float:
    """MiB that are the process's own now; what it shares, the pages of libraries among them, is nobody's."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


class Watched:
    """The most private memory of a process while the block runs, looked at every 50 ms: `most`, in MiB."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most = pid, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, private(self.pid))

    def __enter__(self) -> Self:
        self.most = private(self.pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.most = max(self.most, private(self.pid))


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory(pid: int, what: str = "VmHWM") -> float:
    """MiB. VmHWM: the most since forget_peak; VmRSS: now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(what)
