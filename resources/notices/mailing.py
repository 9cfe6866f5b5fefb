"""Notices that people also want by e-mail: each joins a digest of its person, which goes out within a minute or so.

Who tells only marks the notice: addresses are read by the keeper alone.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import transaction

from resources import connections
from resources.connections import ConnectionRef
from resources.errors import NotFound
from resources.kinds.notify import SmtpSettings
from resources.models import Notice
from resources.notices import digests
from resources.notices.deliveries import Sender
from resources.notices.people import plain

#: a notice waits for its e-mail, for the keeper's one question
WHEN: Final = "EXISTS (SELECT 1 FROM resources_notice WHERE mail)"
#: seconds that the first of a burst waits for others, and how many are listed
WITHIN: Final = 60.0
MOST: Final = 50
_AT_ONCE: Final = 100


def connection() -> ConnectionRef | None:
    """What they go out by; None: no connection is named in the settings, or it is none that sends e-mail."""
    try:
        ref = connections.resolve(settings.NOTICE_CONNECTION) if settings.NOTICE_CONNECTION else None
    except NotFound:
        return None
    return ref if ref is not None and isinstance(ref.settings, SmtpSettings) else None


def using_connection(name: str) -> list[str]:
    """Registered with resources.usage."""
    return ["e-mail of notices (NOTICE_CONNECTION)"] if name == settings.NOTICE_CONNECTION else []


def turn(now: float) -> float | None:
    """The keeper's duty; None: when one waits. Where none can go out any more, they stay in the product only."""
    with transaction.atomic():
        rows = Notice.objects.select_for_update(skip_locked=True, of=("self",)).filter(mail=True)
        found = list(rows.select_related("user").order_by("pk")[:_AT_ONCE])
        ref = connection() if found else None
        for notice in found:
            if ref is not None and notice.user.is_active and notice.user.email:
                _join(notice, ref, now)
        Notice.objects.filter(pk__in=[notice.pk for notice in found]).update(mail=False)
    return now if len(found) == _AT_ONCE else None


def _join(notice: Notice, ref: ConnectionRef, now: float) -> None:
    wanted = digests.Wanted("", f"notices of {notice.user_id}", ref.name, ref.kind, (notice.user.email,))
    text = f"{notice.text}\n\n<{settings.PUBLIC_URL}{notice.url}>" if notice.url else notice.text
    message = digests.Message(notice.title, text.strip() or plain(notice.title), 1)
    sender = Sender(f"notice:{notice.pk}", "", "", None)
    digests.join(sender, wanted, message, channel=ref.name, within=WITHIN, most=MOST, now=now)
