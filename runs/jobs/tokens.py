"""Tokens of runners: they open the runners' part of the API for jobs of one folder, and nothing else.

They are no API tokens: every other address answers 401 to them. Shown once, kept as a SHA-256.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Final

from django.db import transaction

from flows.steps.job.config import LABEL
from resources import audit
from resources.access import Actor, can, require
from resources.errors import BadInput, NotFound
from resources.models import Role
from runs import clock
from runs.jobs.models import RunnerToken

PREFIX: Final = "orr_"
MAX_LABELS: Final = 30
_FOLDER: Final = re.compile(r"|[A-Za-z0-9][A-Za-z0-9 _./-]{0,199}")


def _digest(plain: str) -> str:
    # no salt, no stretching: 256 random bits cannot be guessed, and the digest is what is looked up
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()


def check_labels(labels: Sequence[str]) -> list[str]:
    """Sorted, each once. Raises BadInput."""
    for label in labels:
        if not re.fullmatch(LABEL, label):
            said = "A label has 1 to 40 small letters, digits or _.- and begins with a letter or digit."
            raise BadInput(said, code="bad_label", details=[{"path": "labels", "message": said}])
    found = sorted(set(labels))
    if len(found) > MAX_LABELS:
        raise BadInput(f"A runner has at most {MAX_LABELS} labels.", code="bad_label", details=[{"path": "labels"}])
    return found


def check_name(name: str) -> str:
    """Raises BadInput."""
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise BadInput("A name has 1 to 100 characters.", code="bad_name", details=[{"path": "name"}])
    return name


@transaction.atomic
def create_runner_token(
    *, actor: Actor, name: str, folder: str = "", labels: Sequence[str] = (), expires_at: float | None = None
) -> tuple[RunnerToken, str]:
    """A new token and its plain text, which nobody sees again. By admins of `folder`: a runner answers its steps.

    `labels`: all that its runners may have; none: any. Raises NotAllowed, BadInput.
    """
    folder = folder.strip("/")
    require(actor, Role.ADMIN, folder)
    check_name(name)
    if not _FOLDER.fullmatch(folder):
        raise BadInput("There can be no folder of this name.", code="bad_folder", details=[{"path": "folder"}])
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise BadInput("It would have expired already.", code="bad_time", details=[{"path": "expires_at"}])
    plain = PREFIX + secrets.token_urlsafe(32)
    token = RunnerToken.objects.create(
        name=name, folder=folder, labels=check_labels(labels), prefix=plain[:12], digest=_digest(plain),
        created_by=actor.user, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    data = {"name": name, "folder": folder, "labels": token.labels, "expires_at": expires_at}
    audit.record(
        actor=actor, action="runner_token.created", object_type="runner_token", object_id=str(token.pk), data=data
    )
    return token, plain


@transaction.atomic
def revoke_runner_token(*, actor: Actor, token_id: int) -> RunnerToken:
    """End a token at once; a second time changes nothing. What its runners hold goes to others with the lease.

    Raises NotFound, also for one of a folder that the actor does not administer.
    """
    found = RunnerToken.objects.select_for_update(of=("self",)).filter(pk=token_id) if 0 < token_id < 2**63 else None
    token = found.first() if found is not None else None
    if token is None:
        raise NotFound("There is no such runner token.")
    if not can(actor, Role.ADMIN, token.folder):  # who may not see it in the list learns nothing of it
        raise NotFound("There is no such runner token.")
    if token.revoked_at is None:
        token.revoked_at = clock.now()
        token.save(update_fields=["revoked_at"])
        audit.record(
            actor=actor, action="runner_token.revoked", object_type="runner_token", object_id=str(token.pk),
            data={"name": token.name, "folder": token.folder},
        )  # fmt: skip
    return token


def authenticate(plain: str) -> RunnerToken | None:
    """None for one that is unknown, expired or revoked."""
    token = RunnerToken.objects.filter(digest=_digest(plain), revoked_at=None).first()
    if token is None or (token.expires_at is not None and token.expires_at <= clock.now()):
        return None
    token.plain = plain
    return token
