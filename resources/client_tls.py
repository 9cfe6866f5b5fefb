"""TLS of a connection's requests: whom it trusts, and the certificate that it shows to a server that asks who comes."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2

from resources import secrets
from resources.connection_settings import HttpSettings
from resources.errors import BadInput


def key_of(settings: HttpSettings) -> str:
    """The key of its client certificate as it is now, PEM; "" where it has none. Raises as secrets.reveal."""
    return secrets.reveal(settings.client_key) if settings.client_key else ""


def context_of(settings: HttpSettings, key: str) -> ssl.SSLContext | None:
    """None: the public authorities and no certificate, as for everybody. Raises BadInput where key and certificate do
    not belong together."""
    if not settings.ca_certificates and not key:
        return None
    authorities = settings.ca_certificates
    made = ssl.create_default_context(cadata=authorities) if authorities else httpx2.create_ssl_context(trust_env=False)
    if key:
        with _in_a_file(f"{settings.client_certificate}\n{key}\n") as path:
            _load(made, path, settings.client_key)
    return made


def _load(context: ssl.SSLContext, path: str, name: str) -> None:
    try:
        context.load_cert_chain(path, password="")  # else a key with one would ask the terminal
    except (ssl.SSLError, ValueError) as error:
        raise BadInput(
            f"The secret {name} is not the key of the client certificate.",
            hint="It holds one private key in PEM form, without a passphrase, that the first certificate was made for.",
        ) from error


@contextlib.contextmanager
def _in_a_file(text: str) -> Iterator[str]:
    """The library reads files only: one in memory where there are such, else one that nobody else may read."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("client", os.MFD_CLOEXEC), "w") as file:
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.TemporaryDirectory() as folder:  # elsewhere than on Linux
        path = Path(folder) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(text)
        yield str(path)
