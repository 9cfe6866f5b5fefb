"""ssh: configs that are wrong and peers that mean no good: the error a person reads, and what is left behind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.base import Fail, Retry
from resources import probe
from resources.access import Actor
from resources.connections import parse_settings
from resources.errors import BadInput
from tests.families.attempt import error, resolve
from tests.families.outside import closed_port
from tests.families.sshd import Sshd
from tests.families.test_ssh import Box, kept_here, ran

pytestmark = pytest.mark.db_matrix
Json = Any
__all__ = ["kept_here"]
BOX: Json = {"connection": "box"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "exactly one of command and job"),
        ({"command": ["a"], "job": "x"}, "exactly one of command and job"),
        ({"command": "ls; rm -rf /"}, "the command is a list"),
        ({"command": ["a"], "shell": True}, "with `shell: true` it is a text"),
        ({"command": []}, "command"),
        ({"command": [""]}, "names a program"),
        ({"command": ["a"], "env": {"A=B": "x"}}, "is not the name of an environment variable"),
        ({"command": ["a"], "env": {"x;id": "x"}}, "is not the name of an environment variable"),
        ({"command": ["a"], "env": {"ORCHESTRA_RUN": "x"}}, "is set by Orchestra"),
        ({"command": ["a" * 100_001]}, "at most 100000 characters"),
        ({"command": ["a"], "ok": [256]}, "ok"),
        ({"command": ["a"], "ok": []}, "ok"),
        ({"command": ["a"], "max_bytes": "1GiB"}, "max_bytes"),
        ({"command": ["a"], "stdin": 7}, "stdin is a text or a resource"),
        ({"command": ["a"], "action": "cancel"}, "action goes with a job"),
        ({"command": ["a"], "detached": True, "stdout": "json"}, "belongs to the step that collects"),
        ({"job": "../../etc", "action": "cancel"}, "named by the output of the step"),
        ({"job": "x; rm -rf ~"}, "named by the output of the step"),
        ({"job": "-rf"}, "named by the output of the step"),
        ({"job": "x", "env": {"A": "b"}}, "env goes with a command"),
        ({"job": "x", "follow": True}, "follow goes with action: collect"),
    ],
)
def test_a_hostile_config_is_refused_before_anything_is_sent(config: Json, said: str, box: Box) -> None:
    box()
    with pytest.raises(ResolveError) as raised:
        resolve("ssh", {**BOX, **config})
    assert raised.value.error.cls == "config" and said in raised.value.message


def test_a_connection_of_another_kind_is_refused(connect: Callable[..., str]) -> None:
    connect("world")
    with pytest.raises(ResolveError, match="is not an ssh connection"):
        resolve("ssh", {"connection": "world", "command": ["a"]})


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"host": "box; id"}, "host"),
        ({"host": "user@box"}, "host"),
        ({"host": "-oProxyCommand=x"}, "host"),
        ({"port": 0}, "port"),
        ({"username": ""}, "username"),
        ({"username": "a\nb"}, "username"),
        ({"known_hosts": "box ssh-ed25519 AAAA"}, "known_hosts"),
        ({"known_hosts": "MD5:aa:bb"}, "known_hosts"),
        ({"known_hosts": "*"}, "known_hosts"),
        ({"known_hosts": "@cert-authority * ssh-ed25519 AAAA"}, "known_hosts"),
        ({"key_secret": ""}, ""),
        ({"connect_timeout": 3600}, "connect_timeout"),
        ({"check_host_key": False}, "check_host_key"),
    ],
)
def test_settings_that_would_weaken_a_connection_are_refused(changed: Json, path: str) -> None:
    good = {"host": "box", "username": "me", "key_secret": "k"}
    parse_settings("ssh", good)
    with pytest.raises(BadInput) as raised:
        parse_settings("ssh", {**good, **changed})
    assert isinstance(raised.value.details, list) and raised.value.details[0]["path"] == path


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does to one connection what `behave` says, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                taken = listening.accept()[0]
                with taken:
                    behave(taken)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
    thread.join(5)


def says_nothing(sock: socket.socket) -> None:
    sock.recv(1000)
    sock.recv(1000)


def is_no_ssh(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3)
    sock.recv(1000)


def greets_for_ever(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"welcome\xff\r\n" * 1000)


def sends_garbage(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 5000)
    sock.recv(1000)


def hangs_up(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-x\r\n")


@pytest.mark.parametrize("behave", [says_nothing, is_no_ssh, greets_for_ever, sends_garbage, hangs_up])
def test_a_peer_that_does_not_let_anybody_in_was_sent_nothing(behave: Any, box: Box) -> None:
    with peer(behave) as port:
        box(port=port, connect_timeout=1.0)
        tried = ran(["touch", "pwned"], timeout=20)
    assert isinstance(tried.outcome, Retry) and error(tried) == "connect" and tried.outcome.acted is False
    assert f"127.0.0.1:{port}" in tried.stored["message"]


def test_a_peer_that_is_not_there_is_said_by_the_step_and_by_a_try(box: Box) -> None:
    box(port=closed_port())
    tried = ran(["true"])
    assert error(tried) == "connect" and "could not be reached" in tried.stored["message"]
    told = probe.test_connection(actor=Actor.system("tests"), name="box")
    assert not told.ok and "could not be reached" in told.message


def test_an_account_that_runs_something_else_instead_is_told_apart(box: Box, server: Sshd) -> None:
    box()
    authorized = server.folder / "authorized"
    before = authorized.read_text()
    authorized.write_text(f'command="echo only backups here" {before}')
    try:
        tried = ran(["touch", "pwned"])
    finally:
        authorized.write_text(before)
    assert isinstance(tried.outcome, Fail) and error(tried) == "refused"
    assert "only backups here" in tried.stored["message"]


def test_login_scripts_that_never_stop_talking_are_cut_off(box: Box, server: Sshd) -> None:
    box()
    authorized = server.folder / "authorized"
    before = authorized.read_text()
    authorized.write_text(f'command="yes welcome" {before}')
    try:
        tried = ran(["true"])
    finally:
        authorized.write_text(before)
    assert isinstance(tried.outcome, Fail) and error(tried) == "limit"


def test_an_endless_line_and_invalid_json_leave_an_error_that_can_be_read(box: Box) -> None:
    box()
    deep = ran(["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' '['"], config={"stdout": "json", "max_bytes": 200_000})
    assert error(deep) == "input" and len(deep.stored["message"]) < 500
    bad = ran(["printf", "{\\377}"], config={"stdout": "json"})
    assert error(bad) == "input" and "is not JSON" in bad.stored["message"]
