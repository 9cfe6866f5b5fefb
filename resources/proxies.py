"""Whose request this is: the address that connected, or, behind proxies of ours, the one they name.

X-Forwarded-For is a claim. It is read from its end, and only as far as proxies that TRUSTED_PROXIES lists wrote it:
whatever a client put into the header itself is never believed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: proxies in a row that are followed
MAX_HOPS = 20


def address_of(request: Any) -> str:
    """The client's address, without port; empty where a trusted proxy names none that can be read."""
    remote = str(request.META.get("REMOTE_ADDR", ""))
    trusted: Sequence[Network] = settings.TRUSTED_PROXIES
    if not trusted:
        return remote[:64]
    return client_address(remote, str(request.META.get("HTTP_X_FORWARDED_FOR", "")), trusted)


def client_address(remote: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Pure. `remote`: who connected; `forwarded_for`: the header as it came."""
    current = _address(remote)
    if current is None:
        return remote[:64]
    hops = [hop for hop in forwarded_for.split(",") if hop.strip()][-MAX_HOPS:]
    while hops and any(current in network for network in trusted):
        current = _address(hops.pop())
        if current is None:
            return ""
    return str(current)


def _address(text: str) -> Address | None:
    """Also of 192.0.2.1:443 and [2001:db8::1]:443, as some proxies write."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
