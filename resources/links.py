"""Links to one resource for whoever holds them: signed, for a time, for GET in one disposition, revocable together."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import F

from resources import artifacts, audit
from resources.access import Actor, require
from resources.errors import BadInput, Gone, NotFound
from resources.models import Artifact, Role
from resources.serve import INLINE

DEFAULT: Final = 3600
MOST: Final = 7 * 86400
DISPOSITIONS: Final = ("attachment", "inline")
SALT: Final = "resource-link"


@transaction.atomic
def issue_link(
    *, actor: Actor, artifact_id: str, now: float, seconds: int = DEFAULT, disposition: str = "attachment"
) -> str:
    """A URL that gives the resource to anybody until `seconds` from now. Viewers of its folder; audited.

    Raises NotFound, BadInput.
    """
    row = artifacts.seen(actor, artifact_id)
    if not 1 <= seconds <= MOST:
        raise _bad("expires_in", f"A link lives 1 to {MOST} seconds.")
    if disposition not in DISPOSITIONS or (disposition == "inline" and row.media not in INLINE):
        raise _bad("disposition", "A link is an attachment; inline only for plain text, JSON, CSV and images.")
    until = int(now + seconds)
    told = {"r": row.pk, "m": "GET", "d": disposition, "e": until, "v": row.link_version}
    data = {"until": until, "disposition": disposition, "method": "GET"}
    audit.record(actor=actor, action="resource.link", object_type="resource", object_id=row.pk, data=data)
    return f"{settings.PUBLIC_URL}/shared/{signing.Signer(salt=SALT).sign_object(told)}"


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


def follow(token: str, *, method: str, now: float) -> tuple[Artifact, bool]:
    """(the resource, is it shown inline). Raises NotFound for a link we did not make, Gone for one that is over."""
    try:
        told: dict[str, Any] = signing.Signer(salt=SALT).unsign_object(token)
    except (signing.BadSignature, ValueError) as error:
        raise NotFound("This is no link of ours.", hint="Copy it whole.") from error
    if told["m"] != ("GET" if method == "HEAD" else method):
        raise NotFound("The link is for another method.", hint="It takes a file: send one with PUT.")
    if told["e"] <= now:
        raise Gone("The link is over.", hint="Ask for a new one.", code="link_over")
    row = artifacts.get(told["r"])
    if told["v"] != row.link_version:
        raise Gone("The link was revoked.", hint="Ask for a new one.", code="link_revoked")
    return row, told["d"] == "inline"


@transaction.atomic
def revoke_links(*, actor: Actor, artifact_id: str) -> None:
    """All links to it that there are end now. Operators of its folder. Raises NotFound, NotAllowed."""
    row = artifacts.seen(actor, artifact_id)
    require(actor, Role.OPERATOR, row.folder)
    Artifact.objects.filter(pk=row.pk).update(link_version=F("link_version") + 1)
    audit.record(actor=actor, action="resource.links_revoked", object_type="resource", object_id=row.pk, data={})
