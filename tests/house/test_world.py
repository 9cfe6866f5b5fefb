"""The demo world counts what really happened: once for each key, every time where the key is ignored."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestra.world.knobs import Board, KnobError, Knobs, parse_board
from orchestra.world.ledger import Ledger
from tests import services


class Client:
    """A connection for each request, closed at once."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc

    def raw(self, method: str, path: str, body: str | None = None, key: str | None = None) -> tuple[int, str]:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=20)) as connection:
            connection.request(method, path, body, {"Idempotency-Key": key} if key else {})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def send(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        status, text = self.raw(method, path, None if body is None else json.dumps(body), key)
        return status, json.loads(text) if text else None

    def effects(self) -> dict[tuple[str, str], tuple[int, int]]:
        rows = self.send("GET", "/effects")[1]
        return {(row["kind"], row["key"]): (row["requests"], row["applied"]) for row in rows}


@pytest.mark.parametrize("kind", ["deploy", "payments", "status"])
def test_a_repeated_key_takes_effect_once_and_gets_the_recorded_answer(world_url: str, kind: str) -> None:
    client = Client(world_url)
    first = client.send("POST", f"/{kind}", {"version": "v1"}, key="k")
    again = client.send("POST", f"/{kind}", {"version": "v2"}, key="k")
    assert first == again
    assert first[1]["received"] == {"version": "v1"}
    assert client.effects() == {(kind, "k"): (2, 1)}


@pytest.mark.parametrize("kind", ["deploy", "payments", "status"])
def test_a_plain_endpoint_ignores_the_key_so_a_second_effect_shows(world_url: str, kind: str) -> None:
    client = Client(world_url)
    first, again = (client.send("POST", f"/plain/{kind}", {}, key="k") for _ in range(2))
    assert first[1]["id"] != again[1]["id"]
    assert client.effects() == {(f"plain-{kind}", "k"): (2, 2)}


def test_reading_the_status_is_no_effect(world_url: str) -> None:
    client = Client(world_url)
    client.send("POST", "/status", {"state": "green"}, key="k")
    assert client.send("GET", "/status")[1]["latest"]["received"] == {"state": "green"}
    assert client.effects() == {("status", "k"): (1, 1)}


def test_the_status_of_a_service_says_what_was_deployed_there_last(world_url: str) -> None:
    client = Client(world_url)
    assert client.send("GET", "/status?service=lamp")[1]["running"] is None
    for version in ("v1", "v2"):
        client.send("POST", "/deploy", {"service": "lamp", "version": version}, key=version)
    client.send("POST", "/deploy", {"service": "door", "version": "v9"}, key="door")
    assert client.send("GET", "/status?service=lamp")[1]["running"]["version"] == "v2"


def test_an_error_counts_the_request_and_applies_nothing(world_url: str) -> None:
    client = Client(world_url)
    client.send("PUT", "/knobs", {"kinds": {"deploy": {"error_rate": 1}}})
    assert client.send("POST", "/deploy", {}, key="k")[0] == 503
    assert client.send("POST", "/payments", {}, key="k")[0] == 200
    assert client.effects() == {("deploy", "k"): (1, 0), ("payments", "k"): (1, 1)}


def test_a_dropped_answer_has_taken_effect(world_url: str) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        Client(world_url).send("POST", "/deploy?drop_rate=1", {}, key="k")
    assert Client(world_url).effects() == {("deploy", "k"): (1, 1)}


def test_a_delayed_answer_comes_after_its_effect(world_url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(Client(world_url).send, "POST", "/deploy?delay_ms=1500", {}, "k")
        watcher = Client(world_url)
        while not watcher.effects():
            pass
        assert not slow.done()
        assert slow.result()[0] == 200


def test_a_duplicated_request_counts_twice_and_shows_on_the_plain_endpoint(world_url: str) -> None:
    client = Client(world_url)
    client.send("POST", "/deploy?duplicate_rate=1", {}, key="k")
    client.send("POST", "/plain/deploy?duplicate_rate=1", {}, key="k")
    assert client.effects() == {("deploy", "k"): (2, 1), ("plain-deploy", "k"): (2, 2)}


def test_no_count_is_lost_under_parallel_load_and_a_kill(tmp_path: Path) -> None:
    port = services.free_port()
    argv = [sys.executable, "-m", "orchestra.world", "--port", str(port), "--data", str(tmp_path)]
    client = Client(f"http://127.0.0.1:{port}")

    def send_forty(number: int) -> list[int]:
        return [client.send("POST", "/deploy", {}, f"k{number}-{i % 20}")[0] for i in range(40)]

    with services.running(argv, port, tmp_path / "log") as process, ThreadPoolExecutor(16) as pool:
        assert {status for batch in pool.map(send_forty, range(16)) for status in batch} == {200}
        process.kill()
    with services.world(tmp_path) as url:
        again = Client(url)
        effects = again.effects()
        assert len(effects) == 320
        assert set(effects.values()) == {(2, 1)}
        assert again.send("POST", "/deploy", {}, "k0-0")[0] == 200
        assert again.effects()[("deploy", "k0-0")] == (3, 1)


def test_a_line_torn_by_a_crash_is_cut_off_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "effects.jsonl"
    Ledger(path).apply("deploy", "k", {}, "2026-01-01T00:00:00")
    with path.open("ab") as file:
        file.write(b'{"kind":"deploy","ke')
    ledger = Ledger(path)
    ledger.apply("deploy", "k", {}, "2026-01-01T00:00:01")
    assert Ledger(path).rows() == [{"key": "k", "kind": "deploy", "requests": 2, "applied": 1}]


def test_clearing_forgets_on_disk_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.jsonl")
    ledger.apply("deploy", "k", {}, "2026-01-01T00:00:00")
    ledger.clear()
    assert ledger.rows() == Ledger(tmp_path / "effects.jsonl").rows() == []


def test_the_page_shows_the_table_and_escapes_what_came_from_outside(world_url: str) -> None:
    client = Client(world_url)
    client.send("POST", "/plain/deploy", {}, key="<b>k")
    page = client.raw("GET", "/")[1]
    assert "&lt;b&gt;k" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/deploy", "{", 400),
        ("POST", "/deploy", "x" * 300_000, 413),
        ("GET", "/deploy", "", 405),
        ("GET", "/nowhere", "", 404),
        ("PUT", "/knobs", '{"error_rate": 2}', 400),
        ("PUT", "/knobs", '{"speed": 1}', 400),
        ("PUT", "/knobs", '{"kinds": {"moon": {}}}', 400),
        ("POST", "/callback-later", '{"url": "http://192.0.2.1/"}', 400),
        ("POST", "/callback-later", '{"url": "http://127.0.0.1:1/", "times": 1000}', 400),
    ],
)
def test_bad_requests_get_a_clear_refusal(world_url: str, method: str, path: str, body: str, status: int) -> None:
    answered, text = Client(world_url).raw(method, path, body)
    assert answered == status
    assert json.loads(text)["error"]["message"]


def test_a_callback_arrives_as_often_as_asked(world_url: str) -> None:
    bodies: list[bytes] = []
    done = threading.Event()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            if len(bodies) == 2:
                done.set()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        order = {"url": f"http://127.0.0.1:{server.server_port}/cb", "after_ms": 1, "times": 2, "body": {"a": 1}}
        assert Client(world_url).send("POST", "/callback-later", order)[0] == 202
        assert done.wait(20)
        server.shutdown()
    assert bodies == [b'{"a": 1}'] * 2


def test_the_same_seed_rolls_the_same_fates() -> None:
    def fates() -> list[bool]:
        board = parse_board({"error_rate": 0.5, "seed": 7}, ("deploy",))
        return [board.fate("deploy", {}).error for _ in range(64)]

    assert fates() == fates()
    assert 0 < sum(fates()) < 64


def test_knobs_of_one_request_do_not_stay() -> None:
    board = Board(common=Knobs(error_rate=1.0))
    assert not board.fate("deploy", {"error_rate": "0"}).error
    assert board.fate("deploy", {}).error
    with pytest.raises(KnobError, match="delay_ms"):
        board.fate("deploy", {"delay_ms": "soon"})
