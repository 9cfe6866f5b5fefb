"""notify: configs that are wrong and peers that mean no good: the error a person reads, and what is left behind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.base import Fail, Retry
from resources import probe, smtp_client
from resources.access import Actor
from resources.connections import parse_settings
from resources.errors import BadInput
from resources.kinds.notify import SmtpSettings
from resources.models import NoticeDelivery
from resources.not_sent import NotSent
from resources.stop import Stop
from tests.families.attempt import attempt, error, resolve
from tests.families.mailserver import serving
from tests.families.outside import Outside
from tests.families.test_notify import LOOPBACK, chat_connection, mail_connection

pytestmark = pytest.mark.db_matrix
Json = Any
TO = {"connection": "mail", "to": ["ana@example.com"], "title": "T"}
SMTP = {"host": "mail.example.com", "sender": "orchestra@example.com"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"title": "T"}, "say who is told"),
        ({"people": {}, "title": "T"}, "name users, groups, or both"),
        ({"people": {"users": ["ana"]}, "title": "T", "to": ["a@b.example"]}, "go with an smtp `connection`"),
        ({"people": {"users": ["ana"]}, "title": "T", "repeat_unknown": True}, "goes with a `connection`"),
        ({**TO, "title": "Hello\r\nBcc: eve@example.com"}, "a title is one line"),
        ({**TO, "title": ""}, "title"),
        ({**TO, "title": "x" * 301}, "title"),
        ({**TO, "text": "x" * 100_001}, "text"),
        ({**TO, "to": ["ana@example.com\r\nBcc: eve@example.com"]}, "is not one e-mail address"),
        ({**TO, "to": ["ana@example.com>\r\nDATA"]}, "is not one e-mail address"),
        ({**TO, "to": ["Ana <ana@example.com>"]}, "is not one e-mail address"),
        ({**TO, "to": ["ana@example.com, eve@example.com"]}, "is not one e-mail address"),
        ({**TO, "to": ["ana@exämple.com"]}, "is not one e-mail address"),
        ({**TO, "cc": ["eve@example.com\n"]}, "is not one e-mail address"),
        ({**TO, "to": [f"u{n}@example.com" for n in range(1001)]}, "at most 1000"),
        ({**TO, "to": "ana@example.com"}, "to"),
        ({**TO, "attachments": ["res://x"] * 11}, "at most 10"),
        ({**TO, "digest": {}}, "digest"),
        ({**TO, "digest": {"key": ""}}, "digest"),
        ({**TO, "digest": {"key": "x" * 201}}, "digest"),
        ({**TO, "digest": {"key": "x", "within": "2d"}}, "within"),
        ({**TO, "digest": {"key": "x", "within": "10ms"}}, "within"),
        ({**TO, "digest": {"key": "x", "max": 0}}, "max"),
        ({**TO, "digest": {"key": "x"}, "must": True}, "the step ends before"),
        ({**TO, "digest": {"key": "x"}, "attachments": ["res://x"]}, "a digest has no attachments"),
        ({"people": {"users": ["ana"]}, "title": "T", "digest": {"key": "x"}}, "goes with a `connection`"),
    ],
)
def test_a_hostile_config_is_refused_before_anything_is_sent(config: Json, said: str, db: None) -> None:
    with serving() as box:
        mail_connection(box.port)
        with pytest.raises(ResolveError) as raised:
            resolve("notify", config)
        assert raised.value.error.cls == "config" and said in raised.value.message
    assert box.got == []


def test_to_and_cc_together_are_bounded_and_attachments_must_be_resources(db: None) -> None:
    mail_connection(25)
    half = [f"u{n}@example.com" for n in range(600)]
    with pytest.raises(ResolveError, match="1 to 1000 addresses"):
        resolve("notify", {**TO, "to": half, "cc": half})
    with pytest.raises(ResolveError, match="name one by its address"):
        resolve("notify", {**TO, "attachments": ["file:///etc/passwd"]})


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"host": "mail.example.com:25"}, "host"),
        ({"port": 0}, "port"),
        ({"sender": "Orchestra <o@example.com>"}, "sender"),
        ({"sender": "o@example.com\r\nRCPT"}, "sender"),
        ({"sender_name": "A\r\nB"}, "sender_name"),
        ({"username": "me"}, ""),
        ({"password": "x"}, ""),
        ({"username": "me", "password": "x", "tls": "off"}, ""),
        ({"ca_certificates": "no certificate"}, "ca_certificates"),
        ({"allow_networks": ["10.0.0.1/8"]}, "allow_networks.0"),
    ],
)
def test_a_hostile_setting_is_refused_where_it_stands(changed: Json, path: str) -> None:
    parse_settings("smtp", SMTP)
    with pytest.raises(BadInput) as raised:
        parse_settings("smtp", {**SMTP, **changed})
    assert raised.value.details[0]["path"] == path


@contextlib.contextmanager
def peer(*says: bytes, forever: bytes = b"", hold: bool = False) -> Iterator[int]:
    """A server that says these things, one before each line it hears, whatever it hears."""
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            for line in says:
                sock.sendall(line)
                if not sock.recv(65_536):
                    return
            while forever and not over.is_set():
                sock.sendall(forever)
            if hold:
                over.wait(30)

    def accept() -> None:
        while not over.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


GREET, OK = b"220 hello\r\n", b"250 ok\r\n"


@pytest.mark.parametrize(
    ("says", "known", "cls", "said"),
    [
        ((), {"hold": True}, "timeout", "no answer"),
        ((), {"forever": b"220-more\r\n"}, "connect", "a reply of more than"),
        ((), {"forever": b"x" * 4096}, "connect", "Nothing was sent"),
        ((b"554 go away\r\n",), {}, "refused", "does not greet: 554 go away"),
        ((b"421 busy\r\n",), {}, "rate_limited", "421 busy"),
        ((b"220 \xff\xfe\x00 hi\r\n", b"500 \xff\xfe\x1b[31m\r\n"), {}, "refused", "does not speak SMTP"),
        ((GREET, OK, b"550 not you\r\n"), {}, "refused", "does not take mail from orchestra@example.com: 550"),
        ((GREET, OK, OK), {"hold": True}, "timeout", "no answer"),
        ((GREET, OK, OK, OK, b"452 full\r\n"), {}, "rate_limited", "does not take the message: 452 full"),
    ],
)
def test_a_hostile_server_ends_as_an_error_and_nothing_was_sent(
    says: tuple[bytes, ...], known: Json, cls: str, said: str, db: None
) -> None:
    with peer(*says, **known) as port:
        mail_connection(port)
        failed = attempt("notify", {**TO, "must": True}, timeout=1.0)
    assert isinstance(failed.outcome, (Retry, Fail)) and error(failed) == cls, failed.stored
    assert said in failed.stored["message"] and failed.stored["message"].isprintable()
    assert not isinstance(failed.outcome, Retry) or failed.outcome.acted is False
    assert NoticeDelivery.objects.get().status == "failed"


def _silent(monkeypatch: pytest.MonkeyPatch, socket_seconds: float | None, seconds: float) -> NotSent:
    """What a server that never greets ends as: `socket_seconds` are the socket's own patience."""
    dial = smtp_client._dial

    def impatient(*known: Any) -> socket.socket:
        sock = dial(*known)
        sock.settimeout(socket_seconds)
        return sock

    monkeypatch.setattr(smtp_client, "_dial", impatient)
    with peer(hold=True) as port:
        place = {"host": "127.0.0.1", "port": port, "tls": "off", "allow_networks": LOOPBACK}
        access = smtp_client.Access(SmtpSettings.model_validate({**SMTP, **place}))
        with pytest.raises(NotSent) as raised, smtp_client.session(access, seconds=seconds, stop=Stop()):
            pass
    return raised.value


def test_a_silent_server_is_a_timeout_when_the_socket_is_out_of_patience_first(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = _silent(monkeypatch, socket_seconds=0.05, seconds=60.0)
    assert failed.cls == "timeout" and "no answer" in failed.message


def test_a_silent_server_is_a_timeout_though_the_clock_that_hung_up_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, quietly = threading.Event(), smtp_client._quietly

    def slowly(end: Callable[[], None]) -> None:
        quietly(end)
        seen.wait(30)

    monkeypatch.setattr(smtp_client, "_quietly", slowly)
    failed = _silent(monkeypatch, socket_seconds=None, seconds=0.05)
    seen.set()
    assert failed.cls == "timeout" and "no answer" in failed.message


def test_a_server_that_is_silent_after_the_message_leaves_an_unknown_outcome(db: None) -> None:
    with peer(GREET, OK, OK, OK, b"354 go\r\n", hold=True) as port:
        mail_connection(port)
        failed = attempt("notify", {**TO, "must": True}, timeout=1.0)
    assert isinstance(failed.outcome, Fail) and error(failed) == "unknown_outcome"
    assert NoticeDelivery.objects.get().status == "unknown"


def test_private_addresses_are_refused_by_both_kinds(outside: Outside, db: None) -> None:
    mail_connection(25, allow_networks=[])
    chat_connection(outside.url.replace("http://", "json://"), allow_networks=[])
    for config in (TO, {"connection": "chat", "title": "T"}):
        failed = attempt("notify", {**config, "must": True})
        assert error(failed) == "refused" and "loopback" in failed.stored["message"]
    tried = probe.test_connection(actor=Actor.system("tests"), name="chat")
    assert not tried.ok and "loopback" in tried.message
    assert outside.seen == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("syslog://localhost", "not allowed"),
        ("dbus://", "not allowed"),
        ("macosx://", "not allowed"),
        ("mailto://user:pass@example.com", "not allowed"),
        ("file:///etc/passwd", "not allowed"),
        ("https://example.com/hook", "not allowed"),
        ("JSON", "one Apprise address"),
        ("json://a.example\nsyslog://", "one Apprise address"),
        ("slack://", "not a whole address"),
    ],
)
def test_only_allowed_services_are_reached(address: str, said: str, db: None) -> None:
    chat_connection(address)
    failed = attempt("notify", {"connection": "chat", "title": "T", "must": True})
    assert error(failed) == "refused" and said in failed.stored["message"]


def test_a_service_that_would_go_around_the_guard_is_refused_though_allowed(settings: Any, db: None) -> None:
    settings.NOTIFY_SERVICES = frozenset({"rsyslog", "json"})
    chat_connection("rsyslog://127.0.0.1")
    failed = attempt("notify", {"connection": "chat", "title": "T", "must": True})
    assert error(failed) == "refused" and "cannot be guarded" in failed.stored["message"]


@pytest.mark.parametrize(
    ("path", "cls"), [("/drip", "unknown_outcome"), ("/bytes/400000", "unknown_outcome"), ("/status/302", "http_4xx")]
)
def test_a_hostile_service_ends_in_time_and_in_bounds(outside: Outside, db: None, path: str, cls: str) -> None:
    chat_connection(outside.url.replace("http://", "json://") + path + "?redirect=yes")
    failed = attempt("notify", {"connection": "chat", "title": "T", "must": True}, timeout=2.0)
    assert error(failed) == cls, failed.stored
    assert len(outside.seen) == 1


def test_a_proxy_of_the_machine_is_not_used(
    outside: Outside, db: None, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    chat_connection(outside.url.replace("http://", "json://"))
    done = attempt("notify", {"connection": "chat", "title": "T"})
    assert done.stored["output"]["failed"] == 0 and len(outside.seen) == 1
