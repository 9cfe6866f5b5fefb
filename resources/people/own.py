"""One's own password, guarded against guessing by whoever found a browser open."""

from __future__ import annotations

from django.contrib.auth.models import User

from resources import attempts
from resources.access import Actor
from resources.errors import BadInput, TooMany
from resources.people import accounts


def change_password(*, actor: Actor, current: str, password: str, session: str | None, now: float) -> User:
    """As accounts.change_password, at most ten wrong tries a minute. Raises BadInput, TooMany."""
    name = f"password of {actor.name}"
    wait = attempts.seconds_to_wait(name, "", now)
    if wait:
        raise TooMany("Too many wrong passwords.", hint="Try again a little later.", details={"retry_after": wait})
    try:
        return accounts.change_password(actor=actor, current=current, password=password, session=session)
    except BadInput as error:
        if error.details and error.details[0]["path"] == "current":
            attempts.note_failure(name, "", now)
        raise
