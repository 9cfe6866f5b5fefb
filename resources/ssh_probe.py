"""Trying an ssh connection from its page: connect, check the host key, sign in; nothing is run."""

from __future__ import annotations

import time

from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.masking import Masker
from resources.probe import Tested
from resources.ssh_client import Access, access_of, connect, dial, in_loop

_SECONDS = 8.0


def ssh(ref: ConnectionRef) -> Tested:
    """At most about 8 seconds."""
    masker, start = Masker(), time.monotonic()
    try:
        access = access_of(ref)
        for value in access.secrets:
            masker.add(value)
        seconds = min(_SECONDS, access.settings.connect_timeout)
        sock = dial(access, timeout=seconds)
        server = in_loop(lambda: _sign_in(access, sock, max(1.0, seconds - (time.monotonic() - start))))
    except OrchestraError as error:
        return Tested(False, masker.text(f"{error.message} {error.hint}".strip()))
    took = f"{(time.monotonic() - start) * 1000:.0f} ms"
    return Tested(True, masker.text(f"{access.place} let {access.settings.username} in, in {took} ({server})."))


async def _sign_in(access: Access, sock: object, timeout: float) -> str:
    connection = await connect(access, sock, timeout=timeout)  # type: ignore[arg-type]
    try:
        return str(connection.get_extra_info("server_version"))[:100]
    finally:
        connection.abort()
        await connection.wait_closed()
