"""Trying connections that carry messages: nothing is sent to anybody."""

from __future__ import annotations

import time

import httpcore2

from resources import apprise_client, network, smtp_client
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.notify import AppriseSettings
from resources.masking import Masker
from resources.not_sent import NotSent
from resources.probe import Tested
from resources.stop import Stop

_SECONDS = 5.0


def smtp(ref: ConnectionRef) -> Tested:
    """Greets, encrypts and signs in; at most about 5 seconds."""
    masker, start = Masker(), time.monotonic()
    try:
        access = smtp_client.access_of(ref)
        if access.password:
            masker.add(access.password)
        with smtp_client.session(access, seconds=_SECONDS, stop=Stop()):
            took = (time.monotonic() - start) * 1000
    except (NotSent, OrchestraError) as error:
        return Tested(False, masker.text(error.message))
    who = f" and let {access.settings.username} in" if access.password else ""
    return Tested(True, f"{access.place} answered in {took:.0f} ms{who}. Nothing was sent.")


def apprise(ref: ConnectionRef) -> Tested:
    """Reads the address and, where it names a host of its own, connects to it; at most about 5 seconds."""
    masker, settings = Masker(), ref.settings
    assert isinstance(settings, AppriseSettings)  # noqa: S101  its kind says so
    try:
        address = apprise_client.address_of(ref)
        for value in apprise_client.secrets_in(address):
            masker.add(value)
        service = apprise_client.service_of(address)
        name, host = str(service.service_name), str(getattr(service, "host", "") or "")
        if not host:
            return Tested(True, f"The address is one of {name}; whether it is right shows with the first message.")
        port = service.port or (443 if service.secure else 80)
        with network.total_time(_SECONDS):
            backend = network.GuardedBackend(network.networks(settings.allow_networks))
            backend.connect_tcp(host, port, _SECONDS).close()
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
        return Tested(False, masker.text(f"It could not be reached: {error}"))
    except (NotSent, OrchestraError) as error:
        return Tested(False, masker.text(f"{error.message} {getattr(error, 'hint', '')}".strip()))
    return Tested(True, masker.text(f"{name}: {host} is reached. Nothing was sent."))
