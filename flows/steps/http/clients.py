"""The client and the credentials of an action: the connection in exactly the version the action names."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import httpx2

from flows.steps.base import Action, Refused
from flows.steps.connecting import connection_of
from resources.backends.errors import Unreachable
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.http_auth import authorise
from resources.http_client import guarded_client, http_client
from resources.oauth import TokenFailed
from resources.stop import Stop


@cache
def _public_client(pid: int) -> httpx2.Client:
    return guarded_client()


def public_client() -> httpx2.Client:
    """For steps without a connection: public addresses only, no credentials.

    One a process: a forked child must not share its parent's sockets, nor close them.
    """
    return _public_client(os.getpid())


def prepare(
    action: Action, request: httpx2.Request, mask: Callable[[str], None], timeout: float, stop: Stop | None = None
) -> tuple[httpx2.Client, httpx2.Request, ConnectionRef | None]:
    """The client to send with, the request complete with the client's headers and the credentials, the connection.

    Every secret is given to `mask` before it is used. `timeout`: seconds that asking for a token may take. Raises
    Changed, Refused when connection or secret are gone, TokenFailed, Unreachable.
    """
    if action.connection is None:
        return *_complete(public_client(), request), None
    try:
        ref = connection_of(action)
        client, request = _complete(http_client(ref), request)
        for secret in authorise(ref, request, timeout=timeout, stop=stop):
            mask(secret)
    except (TokenFailed, Unreachable):
        raise
    except OrchestraError as e:
        raise Refused(e.message) from e
    return client, request, ref


def _complete(client: httpx2.Client, request: httpx2.Request) -> tuple[httpx2.Client, httpx2.Request]:
    for name, value in client.headers.items():
        request.headers.setdefault(name, value)
    return client, request
