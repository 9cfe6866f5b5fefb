"""Whose request it is, whatever the request says."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from resources.access import Actor
from resources.proxies import address_of, client_address

TRUSTED = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("remote", "header", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # forged: who connected is no proxy of ours
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),  # the client wrote the first one itself
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.5", "10.0.0.5"),
        ("10.0.0.1", "198.51.100.1, nonsense", ""),
        ("10.0.0.1", "nonsense, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("2001:db8::1", "[2001:db9::7]:443", "2001:db9::7"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
        ("a socket", "198.51.100.1", "a socket"),
    ],
)
def test_a_forwarded_address_is_believed_only_of_our_own_proxies(remote: str, header: str, client: str) -> None:
    assert client_address(remote, header, TRUSTED) == client


@given(st.text(max_size=300))
def test_no_header_makes_a_stranger_somebody_else(header: str) -> None:
    assert client_address("203.0.113.9", header, TRUSTED) == "203.0.113.9"
    assert client_address("10.0.0.1", f"{header},203.0.113.9", TRUSTED) == "203.0.113.9"


def test_the_setting_decides(settings: Any) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.1"})
    assert address_of(request) == "10.0.0.1"
    settings.TRUSTED_PROXIES = TRUSTED
    assert address_of(request) == "198.51.100.1"


@pytest.mark.django_db
def test_the_log_of_changes_notes_the_client_behind_the_proxy(settings: Any, django_user_model: Any) -> None:
    settings.TRUSTED_PROXIES = TRUSTED
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.1"})
    request.user = django_user_model.objects.create_user("ana")
    assert Actor.of(request).address == "198.51.100.1"
