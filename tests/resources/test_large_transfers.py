"""Large bodies through the served web process: it stays as small as it was, whatever comes, however slowly it goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra.web.inbox import MOST, Inbox
from tests.resources.transfers import MIB, Client, Large, forget_peak, memory
from tests.web import Web, web

LARGE = Large(128)
#: MiB by which the process may grow: a few pieces, and what the allocator keeps
GROWTH = 40


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web(tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture(scope="module")
def client(site: Web) -> Client:
    found = Client(site.url, site.manage("create_token", "admin"))
    found.upload(Large(1))  # what the first request imports is not what a large one takes
    return found


def grown(pid: int, do: Callable[[], object]) -> float:
    """MiB more than before, at the worst moment."""
    before = memory(pid, "VmRSS")
    forget_peak(pid)
    do()
    return memory(pid) - before


def open_blobs(site: Web) -> int:
    found = 0
    for link in Path(f"/proc/{site.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += "/files/" in os.readlink(link)
    return found


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_128_mib_go_in_and_out_in_little_memory_also_to_a_client_that_stops_reading(site: Web, client: Client) -> None:
    made: list[str] = []
    assert grown(site.pid, lambda: made.append(client.upload(LARGE))) < GROWTH
    came: list[str] = []
    assert grown(site.pid, lambda: came.append(client.download(made[0]))) < GROWTH
    assert grown(site.pid, lambda: came.append(client.download(made[0], rest=2.0))) < GROWTH
    assert came == [LARGE.sha256()] * 2


def test_a_client_that_leaves_in_the_middle_ends_the_reading(site: Web, client: Client) -> None:
    made = client.upload(LARGE)
    until(lambda: open_blobs(site) == 0)
    connection = client.open()
    headers = {"Authorization": f"Bearer {client.token}"}
    connection.request("GET", f"/api/v1/resources/{made}/content", headers=headers)
    answer = connection.getresponse()
    answer.read(MIB)
    assert open_blobs(site) == 1
    answer.close()
    connection.close()
    until(lambda: open_blobs(site) == 0)


def test_a_strangers_body_is_refused_before_its_end_and_the_connection_goes_on(site: Web, client: Client) -> None:
    connection = client.open()
    connection.request("PUT", "/api/v1/uploads/x?offset=0", Large(32).pieces(), encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "too_large")
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


def test_an_endless_body_is_cut_off(site: Web, client: Client) -> None:
    endless = Large(1 << 20).pieces()
    connection = client.open()

    def send() -> None:
        with pytest.raises(OSError):  # reset by the server
            connection.request("POST", "/api/v1/resources", endless, encode_chunked=True)

    assert grown(site.pid, send) < GROWTH
    assert int.from_bytes(next(endless)[:8], "big") < 512  # MiB that left before
    connection.close()


def test_a_file_goes_by_a_link_in_little_memory_and_a_used_link_is_answered_before_the_next(
    site: Web, client: Client
) -> None:
    made = client.call("POST", "/upload-links", {"name": "big.bin", "max_bytes": LARGE.size})
    path = "/shared/" + made["url"].rsplit("/shared/")[1]

    def send(large: Large) -> tuple[int, dict[str, object]]:
        connection = client.open()
        connection.request("PUT", path, large.pieces(), {"Content-Length": str(large.size)})
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    came: list[tuple[int, dict[str, object]]] = []
    assert grown(site.pid, lambda: came.append(send(LARGE))) < GROWTH
    assert (came[0][0], came[0][1]["sha256"]) == (201, LARGE.sha256())
    status, again = send(Large(4))
    assert (status, again["error"]) == (410, {**again["error"], "code": "link_used"})  # type: ignore[dict-item]


def test_an_upload_broken_off_in_a_part_goes_on_where_the_part_began(site: Web, client: Client) -> None:
    large = Large(4)
    upload = client.call("POST", "/uploads", {"size": large.size})
    connection = client.open()
    connection.putrequest("PUT", f"/api/v1/uploads/{upload['id']}?offset=0")
    connection.putheader("Authorization", f"Bearer {client.token}")
    connection.putheader("Content-Length", str(large.size))
    connection.endheaders()
    connection.send(next(large.pieces()))
    connection.close()
    assert client.call("GET", f"/uploads/{upload['id']}")["offset"] == 0
    assert client.call("PUT", f"/uploads/{upload['id']}?offset=0", large.pieces())["offset"] == large.size


def test_the_socket_is_read_no_faster_than_the_application_takes() -> None:
    told: list[str] = []

    async def play() -> None:
        inbox = Inbox(lambda: told.append("pause"), lambda: told.append("resume"))
        inbox.feed(b"x" * MOST)
        assert told == []
        inbox.feed(b"y")
        assert told == ["pause"]
        assert (await inbox.get())["body"] == b"x" * MOST + b"y"
        assert told == ["pause", "resume"]
        waiting = asyncio.ensure_future(inbox.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        inbox.end()
        assert await waiting == {"type": "http.request", "body": b"", "more_body": False}
        waiting = asyncio.ensure_future(inbox.get())
        inbox.put_nowait({"type": "http.disconnect"})
        assert await waiting == {"type": "http.disconnect"}

    asyncio.run(play())
