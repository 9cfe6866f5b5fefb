"""Bodies that may be large: uploads, which wait on the disk and not in memory until their view reads them."""

from __future__ import annotations

import re
import tempfile
import time
from typing import IO, Any, Final

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from resources import filestore, tokens
from resources.proxies import address_of
from resources.receiving import links as receiving
from runs.jobs import tokens as runner_tokens

#: (method, address) of what takes more than settings.MAX_BODY_BYTES, from those who are signed in
_LARGE: Final = {("POST", "/api/v1/resources"), ("POST", "/resources/upload")}
#: links by which one file comes
_LINK: Final = "/shared/"
#: the form that starts a flow may bring files
_START: Final = re.compile(r"/flows/[^/]+/start")
#: a form around a file: its other fields and boundaries
_ROOM: Final = 64 * 1024


def may_be_large(scope: dict[str, Any]) -> bool:
    part = scope["method"] == "PUT" and scope["path"].startswith(("/api/v1/uploads/", "/api/v1/runner/jobs/", _LINK))
    form = scope["method"] == "POST" and _START.fullmatch(scope["path"]) is not None
    return part or form or (scope["method"], scope["path"]) in _LARGE


def limit(request: ASGIRequest) -> int:
    """How many bytes of body this request may send. Reads the session, the token or the link: a stranger fills no disk.

    Raises NotFound, Gone for a link that takes nothing.
    """
    if request.path.startswith(_LINK):
        return receiving.opened(request.path.removeprefix(_LINK), time.time()).max_bytes
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        plain = token.strip()
        actor = tokens.authenticate(plain, address=address_of(request))
        known = actor is not None or runner_tokens.authenticate(plain) is not None
    else:
        known = _has_session(request)
    most: int = settings.MAX_UPLOAD_BYTES + _ROOM if known else settings.MAX_BODY_BYTES
    return most


def _has_session(request: ASGIRequest) -> bool:
    from django.contrib.auth import get_user

    from resources.people.sessions import SessionStore

    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))  # where get_user looks
    return bool(get_user(request).is_authenticated)


def new() -> IO[bytes]:
    """In memory up to what any body may have, then a file without a name beside the resources."""
    folder = str(filestore.spool_folder())
    return tempfile.SpooledTemporaryFile(max_size=settings.MAX_BODY_BYTES, dir=folder)
