"""A debug page and the log say where something broke, and never show the value of a secret."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.views.debug import ExceptionReporter

from resources import crypto, secrets
from resources.access import Actor
from resources.http_client import fetch, guarded_client
from tests.families.outside import serve

pytestmark = pytest.mark.django_db
#: put together here, since a debug page shows the lines of code around the break
MARK = "hid" + "den-"
VALUE = f"{MARK}value-4711-abcdef"


def breaks(request: HttpRequest) -> HttpResponse:
    harmless = secrets.reveal("token")
    inner = {"nested": [harmless], "sent": request.POST.get("harmless")}
    raise RuntimeError(f"broke with {len(inner)} things")


urlpatterns = [path("breaks", breaks)]


@pytest.fixture(autouse=True)
def token() -> None:
    secrets.set_secret(actor=Actor.system("test"), name="token", value=VALUE)


def test_a_debug_page_shows_where_and_not_with_what(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.DEBUG, settings.ROOT_URLCONF = True, __name__
    settings.VAULT = {"address": "", "role_id": MARK + "role", "token": MARK + "token"}
    client = Client(raise_request_exception=False, headers={"authorization": f"Bearer {MARK}bearer"})
    client.cookies["harmless"] = MARK + "cookie"
    with caplog.at_level(logging.DEBUG):
        answer = client.post("/breaks", {"harmless": MARK + "field"})
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "broke with 2 things" in page
    assert "harmless" in page
    for place in (page, caplog.text):
        assert MARK not in place
        assert str(settings.ENCRYPTION_KEYS["k1"]) not in place


@pytest.mark.parametrize("debug", [True, False])
def test_a_report_without_a_page_shows_no_value_either(debug: bool, settings: Any) -> None:
    settings.DEBUG = debug
    request = RequestFactory().post("/breaks", {"harmless": MARK + "field"})
    try:
        breaks(request)
    except RuntimeError:
        reporter = ExceptionReporter(request, *sys.exc_info())
    assert "broke with 2 things" in reporter.get_traceback_text()
    assert MARK not in reporter.get_traceback_text() + reporter.get_traceback_html()


def test_what_cannot_be_opened_is_said_without_its_bytes(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.ENCRYPTION_KEYS = {"k9": settings.ENCRYPTION_KEYS["k1"]}
    try:
        secrets.reveal("token")
    except crypto.CannotDecrypt as error:
        logging.getLogger("orchestra").exception("broke")
        assert "k1" in error.message
    assert VALUE not in caplog.text
    assert "CannotDecrypt" in caplog.text


def test_libraries_do_not_log_where_something_is_sent_nor_what(caplog: pytest.LogCaptureFixture) -> None:
    """An address may be a secret by itself, such as that of a callback or of a chat's webhook."""
    with caplog.at_level(logging.DEBUG), serve() as outside:
        with closing(guarded_client(("127.0.0.0/8",), {"x-key": VALUE})) as client:
            request = client.build_request("POST", f"{outside.url}/echo/{MARK}address", content=VALUE)
            assert VALUE in fetch(client, request, timeout=60, max_bytes=10_000).body.decode()
        logging.getLogger("orchestra").debug("shown")
    assert "shown" in caplog.text and MARK not in caplog.text
