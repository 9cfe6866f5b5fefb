"""Tokens that end soon: their people are told, a week before and a day before, once each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from resources.models import ApiToken
from resources.notices import people

#: days before its end
BEFORE: Final = (7, 1)
_EVERY: Final = 3600.0
_BATCH: Final = 1000


def turn(now: float) -> float:
    """The keeper's duty; gives when it is due next."""
    today = datetime.fromtimestamp(now, UTC)
    rows = ApiToken.objects.filter(revoked_at=None, user__is_active=True, expires_at__gt=today)
    for days in BEFORE:
        for token in rows.filter(expires_at__lte=today + timedelta(days=days)).order_by("expires_at")[:_BATCH]:
            _tell(token, days, now)
    return now + _EVERY


def _tell(token: ApiToken, days: int, now: float) -> None:
    """A token that was made to live no longer than this is not worth a reminder."""
    assert token.expires_at is not None  # noqa: S101  for mypy; the query asks for it
    if token.expires_at - token.created_at <= timedelta(days=days):
        return
    people.tell(
        [token.user_id], key=f"token:{token.pk}:{days}", kind="token", title=f"Your token {token.name} ends soon",
        text=f"It ends on {token.expires_at:%Y-%m-%d at %H:%M} UTC. Make another one, and put it in its place.",
        url="/tokens", now=now,
    )  # fmt: skip
