"""SESSION_ENGINE: sessions in the database that know whose they are."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as Stored
from django.utils import timezone

from resources.people.models import Session


class SessionStore(Stored):
    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        row: Session = super().create_model_instance(data)  # type: ignore[assignment]  # Django's stub names its own
        row.user_id = int(data[SESSION_KEY]) if data.get(SESSION_KEY) else None
        return row


def end(user_id: int, *, but: str | None = None) -> int:
    """End the sessions of a person, all or all `but` the one with this key. How many there were."""
    rows = Session.objects.filter(user_id=user_id, expire_date__gt=timezone.now()).exclude(session_key=but)
    count = rows.count()
    Session.objects.filter(user_id=user_id).exclude(session_key=but).delete()
    return count
