"""notify: in the product, by e-mail through a real server, and by apprise to a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from flows.resolve import ResolveError
from flows.steps.base import Done, Fail, Fetched, Retry
from resources import probe
from resources.access import Actor
from resources.connections import create_connection
from resources.markdown import html_of
from resources.models import Notice, NoticeDelivery
from resources.secrets import set_secret
from tests.families.attempt import KEY, Attempt, attempt, error, output, resolve
from tests.families.mailserver import PASSWORD, Box, serving
from tests.families.outside import Outside
from tests.families.test_db_tls import authority

pytestmark = pytest.mark.db_matrix
Json = Any
LOOPBACK = ["127.0.0.0/8"]
__all__ = ["authority"]


def mail_connection(port: int, name: str = "mail", **settings: Any) -> None:
    base = {
        "host": "127.0.0.1",
        "port": port,
        "tls": "off",
        "sender": "orchestra@example.com",
        "allow_networks": LOOPBACK,
    }
    create_connection(actor=Actor.system("tests"), name=name, kind="smtp", settings={**base, **settings})


def chat_connection(address: str, name: str = "chat", **settings: Any) -> None:
    admin = Actor.system("tests")
    set_secret(actor=admin, name=f"{name}-address", value=address)
    base = {"url": f"{name}-address", "allow_networks": LOOPBACK}
    create_connection(actor=admin, name=name, kind="apprise", settings={**base, **settings})


@pytest.fixture
def mail(db: None) -> Iterator[Box]:
    with serving() as box:
        mail_connection(box.port)
        yield box


@pytest.fixture
def chat(db: None, outside: Outside) -> Outside:
    chat_connection(outside.url.replace("http://", "json://") + "/hooks/token-0123456789")
    return outside


@pytest.fixture
def people(db: None) -> dict[str, Any]:
    made = {n: get_user_model().objects.create_user(n, password="x") for n in ("ana", "ben", "cai", "gone")}
    made["gone"].is_active = False
    made["gone"].save(update_fields=["is_active"])
    group = Group.objects.create(name="on-call")
    for name in ("ben", "cai", "gone"):
        made[name].groups.add(group)
    return made


def mailed(**config: Json) -> Attempt:
    known = {name: config.pop(name) for name in ("again", "fetch", "key", "timeout") if name in config}
    return attempt("notify", {"connection": "mail", "to": ["ana@example.com"], "title": "Done", **config}, **known)


def only(attempted: Attempt) -> Json:
    (channel,) = output(attempted)["channels"]
    return channel


# -- in the product ------------------------------------------------------------------------------------------
def test_people_and_groups_are_told_once_each_however_often_it_is_attempted(people: dict[str, Any]) -> None:
    config = {"people": {"users": ["ana", "ben"], "groups": ["on-call"]}, "title": "Done", "text": "**All** good"}
    first, again = attempt("notify", config), attempt("notify", config)
    assert output(first) == output(again)
    assert only(first)["recipients"] == 3 and output(first)["failed"] == 0
    assert sorted(Notice.objects.values_list("user__username", "title")) == [(n, "Done") for n in ("ana", "ben", "cai")]


def test_a_name_that_nobody_has_is_listed_and_nobody_at_all_is_a_failure_only_if_it_must_not(people: Any) -> None:
    some = only(attempt("notify", {"people": {"users": ["ana", "zoe"]}, "title": "T"}))
    assert some["status"] == "sent" and some["refused"] == [{"to": "zoe", "said": "unknown, or not active"}]
    nobody = {"people": {"users": ["zoe", "gone"]}, "title": "T"}
    missed = attempt("notify", nobody, key="other:key")
    assert only(missed)["status"] == "failed" and "warning: Nobody was told" in missed.log[0]
    assert error(attempt("notify", {**nobody, "must": True}, key="third:key")) == "input"


# -- e-mail --------------------------------------------------------------------------------------------------
def test_an_e_mail_has_text_html_and_attachments_and_an_id_made_of_the_key(mail: Box) -> None:
    ref = {"$res": "res://x", "size": 5, "sha256": "0", "content_type": "text/csv"}
    action = resolve("notify", {"connection": "mail", "to": ["ana@example.com"], "cc": ["ben@example.com"],
                                "title": "Größe", "text": "**Bold** <script>x</script>"})  # fmt: skip
    config = {**action.config, "attachments": [ref]}
    fetch = lambda _: Fetched(BytesIO(b"a,b\r\n"), "rows.csv", "text/csv; charset=utf-8", 5)  # noqa: E731
    done = attempt("notify", {}, action=type(action)("step", None, "notify", action.connection, config), fetch=fetch)
    (message,) = mail.got
    assert only(done) == {
        "channel": "mail", "kind": "smtp", "status": "sent", "recipients": 2, "refused": [], "error": None,
        "message_id": message["Message-ID"], "at": only(done)["at"], "digest": None,
    }  # fmt: skip
    assert mail.to == [["ana@example.com", "ben@example.com"]] and message["Subject"] == "Größe"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and "**Bold** <script>" in plain.get_content()
    assert html is not None and "<strong>Bold</strong> &lt;script&gt;" in html.get_content()
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("rows.csv", "text/csv")


def test_what_was_sent_is_never_sent_again_and_another_pass_has_another_id(mail: Box) -> None:
    assert output(mailed()) == output(mailed())
    assert len(mail.got) == 1
    mailed(key="01run:step:2")
    assert len({m["Message-ID"] for m in mail.got}) == 2


def test_a_refused_recipient_is_listed_and_the_others_get_it(mail: Box) -> None:
    mail.refuses = {"no@example.com": "550 5.1.1 no such person"}
    done = mailed(to=["no@example.com", "ana@example.com"])
    assert mail.to == [["ana@example.com"]]
    assert only(done)["status"] == "sent"
    assert only(done)["refused"] == [{"to": "no@example.com", "said": "550 5.1.1 no such person"}]
    assert done.log == ["warning: mail refused no@example.com: 550 5.1.1 no such person"]


def test_when_all_are_refused_the_output_says_so_and_must_makes_it_a_failure(mail: Box) -> None:
    mail.refuses = {"ana@example.com": "550 no such person"}
    done = mailed()
    assert output(done)["failed"] == 1 and only(done)["status"] == "failed" and "550 no such" in only(done)["error"]
    failed = mailed(must=True, key="other")
    assert isinstance(failed.outcome, Fail) and error(failed) == "refused"


def test_greylisting_is_tried_again_while_the_policy_allows_and_then_it_is_only_said(mail: Box) -> None:
    mail.refuses = {"ana@example.com": "451 4.7.1 come back later"}
    first = mailed(again=lambda cls: cls == "rate_limited")
    assert isinstance(first.outcome, Retry) and not first.outcome.acted and error(first) == "rate_limited"
    last = mailed()
    assert only(last)["status"] == "failed" and "451 4.7.1" in only(last)["error"]
    mail.refuses = {}
    assert only(mailed())["status"] == "sent"
    assert len(mail.got) == 1


def test_a_connection_cut_after_the_message_leaves_an_unknown_outcome_that_is_not_repeated(mail: Box) -> None:
    mail.says = [""]
    done = mailed(again=lambda cls: True)
    assert isinstance(done.outcome, Done) and only(done)["status"] == "unknown" and "unknown" in only(done)["error"]
    again = mailed(must=True)
    assert isinstance(again.outcome, Fail) and error(again) == "unknown_outcome"
    assert len(mail.got) == 1


def test_it_is_repeated_under_the_same_id_where_the_flow_asks_for_that(mail: Box) -> None:
    mail.says = [""]
    first = mailed(repeat_unknown=True, again=lambda cls: True)
    assert isinstance(first.outcome, Retry) and first.outcome.acted
    assert only(mailed(repeat_unknown=True))["status"] == "sent"
    assert len(mail.got) == 2 and len({m["Message-ID"] for m in mail.got}) == 1


def test_an_attempt_that_was_lost_while_sending_leaves_an_unknown_outcome(mail: Box) -> None:
    NoticeDelivery.objects.create(
        key=KEY, channel="mail", kind="smtp", run_id="01run", step="step", status="sending", recipients=1, at=1.0
    )
    assert only(mailed())["status"] == "unknown"
    assert mail.got == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # of the server: its TLS is from the first byte
@pytest.mark.parametrize("implicit", [True, False])
def test_tls_is_checked_and_the_password_is_sent_inside_it_only(authority: Any, implicit: bool, db: None) -> None:
    import ssl

    root, folder = authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    admin, tls = Actor.system("tests"), "implicit" if implicit else "starttls"
    set_secret(actor=admin, name="right", value=PASSWORD)
    set_secret(actor=admin, name="wrong", value="Another-Passw0rd")
    with serving(context, implicit=implicit, auth=True) as box:
        known = {"host": "localhost", "tls": tls, "username": "me", "allow_networks": [*LOOPBACK, "::1/128"]}
        mail_connection(box.port, "mail", **known, password="right", ca_certificates=root)
        mail_connection(box.port, "wrong", **known, password="wrong", ca_certificates=root)
        mail_connection(box.port, "unknown-ca", **known, password="right")
        mail_connection(
            box.port, "wrong-host", **{**known, "host": "127.0.0.1"}, password="right", ca_certificates=root
        )
        assert only(mailed())["status"] == "sent" and len(box.got) == 1
        wrong = mailed(connection="wrong", must=True)
        assert error(wrong) == "refused" and "did not let me in (535)" in wrong.stored["message"]
        for name in ("unknown-ca", "wrong-host"):
            assert "certificate that is not trusted" in mailed(connection=name, must=True).stored["message"]
        assert probe.test_connection(actor=admin, name="mail").ok
        tried = probe.test_connection(actor=admin, name="wrong")
        assert not tried.ok and "Look at the secret" in tried.message
    assert len(box.got) == 1


def test_a_server_that_offers_no_tls_gets_nothing_in_clear(mail: Box) -> None:
    mail_connection(mail.port, "strict", tls="starttls")
    assert "offers no STARTTLS" in mailed(connection="strict", must=True).stored["message"]
    assert mail.got == []


# -- chat and push -------------------------------------------------------------------------------------------
def test_a_chat_message_carries_title_text_and_key_and_its_address_stays_secret(chat: Outside) -> None:
    done = attempt("notify", {"connection": "chat", "title": "Done", "text": "All good"})
    (seen,) = chat.seen
    assert json.loads(seen.body)["title"] == "Done" and "All good" in json.loads(seen.body)["message"]
    assert seen.path == "/hooks/token-0123456789" and seen.headers["idempotency-key"] == KEY
    assert only(done)["status"] == "sent"
    assert "token-0123456789" not in json.dumps([done.stored, done.log, done.action.to_json()])
    assert output(attempt("notify", {"connection": "chat", "title": "Done", "text": "All good"})) == output(done)
    assert len(chat.seen) == 1


@pytest.mark.parametrize(("status", "cls"), [(500, "http_5xx"), (429, "http_429"), (404, "http_4xx")])
def test_a_service_that_says_no_is_a_failure_of_its_class(outside: Outside, db: None, status: int, cls: str) -> None:
    chat_connection(outside.url.replace("http://", "json://") + f"/status/{status}")
    failed = attempt("notify", {"connection": "chat", "title": "T", "must": True})
    assert error(failed) == cls
    assert NoticeDelivery.objects.get().status == "failed"


def test_in_the_product_and_by_a_channel_that_fails_the_step_succeeds_and_says_so(chat: Outside, people: Any) -> None:
    chat_connection("json://127.0.0.1:9/x", "closed")
    done = attempt("notify", {"connection": "closed", "people": {"users": ["ana"]}, "title": "T"})
    assert [c["status"] for c in output(done)["channels"]] == ["sent", "failed"]
    assert output(done)["failed"] == 1


# -- what it says --------------------------------------------------------------------------------------------
def test_markdown_is_rendered_without_html_images_and_dangerous_links() -> None:
    made = html_of("[x](javascript:alert(1)) ![i](https://t.example/p.png) <img src=x onerror=y>")
    assert 'href="javascript' not in made and "<img" not in made


def test_a_sentence_says_who_is_told_and_how(mail: Box) -> None:
    from flows.steps.registry import family

    action = resolve("notify", {"connection": "mail", "to": ["ana@example.com"], "title": "Done"})
    assert family("notify").describe(action) == "Tells ana@example.com by the connection mail: Done"
    assert action.config["from"] == "orchestra@example.com"


def test_a_value_that_looks_like_an_expression_stays_a_text(mail: Box) -> None:
    config = {"connection": "mail", "to": ["ana@example.com"], "title": "${{ input.t }}", "text": "${{ input.t }}"}
    attempt("notify", config, {"input": {"t": "${{ run.id }} {{ x }} %s"}})
    assert mail.got[0]["Subject"] == "${{ run.id }} {{ x }} %s"


def test_an_smtp_connection_needs_somebody_to_write_to(mail: Box) -> None:
    with pytest.raises(ResolveError, match="goes to 1 to 1000 addresses"):
        resolve("notify", {"connection": "mail", "title": "T"})


def test_a_connection_of_another_kind_is_refused(connect: Callable[..., str]) -> None:
    connect("world")
    with pytest.raises(ResolveError, match="carries no messages"):
        resolve("notify", {"connection": "world", "title": "T"})
    assert Notice.objects.count() == 0
