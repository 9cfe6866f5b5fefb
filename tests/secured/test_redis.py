"""TLS to Redis: the channel layer speaks to a server whose certificate and name are right, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import environ
import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.core.exceptions import ImproperlyConfigured

from orchestra import live, reach
from tests.tls import Authority, Front, Pair, front


@pytest.fixture(scope="module")
def server(redis_url: str, authority: Authority) -> Iterator[Front]:
    """TLS in front of a real Redis, which is built without; it wants a certificate of its clients, too."""
    with front(authority.pair("localhost").context(clients=authority), urlsplit(redis_url).port or 0) as running:
        yield running


def address(server: Front, mine: Pair, host: str = "localhost") -> str:
    return f"rediss://{host}:{server.port}/0?ssl_certfile={mine.certificate}&ssl_keyfile={mine.key}"


def configured(monkeypatch: pytest.MonkeyPatch, url: str, authority: str) -> Any:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_CA", authority)
    return live.channel_layer(environ.Env())["CONFIG"]


async def told(config: Any) -> Any:
    layer = RedisPubSubChannelLayer(**config)
    try:
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "news"})
        return await asyncio.wait_for(layer.receive(channel), 60)
    finally:
        await layer.flush()


def test_the_layer_tells_others_over_tls(
    server: Front, authority: Authority, mine: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(monkeypatch, address(server, mine), str(authority.file))
    assert reach.redis_problem(config) == ""
    before = server.heard
    assert asyncio.run(told(config)) == {"type": "news"}
    assert server.heard > before


@pytest.mark.parametrize("wrong", ["authority", "name", "nothing"])
def test_who_is_not_trusted_is_named_and_gets_nothing(
    server: Front,
    authority: Authority,
    mine: Pair,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    trusted = {"authority": str(stranger.file), "nothing": ""}.get(wrong, str(authority.file))
    host = "127.0.0.1" if wrong == "name" else "localhost"
    config = configured(monkeypatch, address(server, mine, host), trusted)
    before = server.heard
    said = reach.redis_problem(config)
    assert said.startswith(f"Redis at {host}:{server.port} is not trusted")
    assert "REDIS_CA" in said
    assert server.heard == before


def test_one_that_is_away_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(monkeypatch, "redis://me:s3cret-w0rd@127.0.0.1:9/0", "")
    said = reach.redis_problem(config)
    assert said.startswith("Redis at 127.0.0.1:9 cannot be used")
    assert "Work goes on without it" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("url", "authority", "why"),
    [
        ("http://x", "", "redis://"),
        ("redis://x", "ca.pem", "rediss://"),
        ("rediss://x", "/nowhere.pem", "no file /nowhere.pem"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, url: str, authority: str, why: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=why):
        configured(monkeypatch, url, authority)


def test_a_check_of_the_name_cannot_be_left_out_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    (host,) = configured(monkeypatch, "rediss://redis.example/0", "")["hosts"]
    assert (host["ssl_cert_reqs"], host["ssl_check_hostname"]) == ("required", True)
