"""Links to upload to: for PUT only, one file of a size and type, once, for a time, revocable; nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet

from resources import audit, quotas, uploads
from resources.access import Actor, can, folder_filter, require
from resources.errors import BadInput, Conflict, Gone, NotFound, OrchestraError, TooLarge, TooMany
from resources.labels import check_labels
from resources.links import DEFAULT, MOST, SALT
from resources.models import Artifact, Role, UploadLink
from resources.paging import Page, decode_cursor, encode_cursor

#: open links of one person or token at a time
MANY: Final = 100
#: seconds that a link is listed after its end
LISTED: Final = 30 * 86400.0
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be brought. `content_type` "": any; `max_bytes` None: settings.MAX_UPLOAD_BYTES; `seconds`: its life."""

    name: str
    folder: str = ""
    content_type: str = ""
    max_bytes: int | None = None
    seconds: int = DEFAULT
    labels: dict[str, str] = field(default_factory=dict)


@transaction.atomic
def issue_upload_link(*, actor: Actor, wanted: Wanted, now: float) -> tuple[UploadLink, str]:
    """(the row, the URL that is shown this once). Operators of the folder; audited.

    Raises NotAllowed, BadInput, TooLarge, TooMany.
    """
    row = UploadLink(
        folder=uploads.check_folder(actor, wanted.folder),
        name=uploads.clean_name(wanted.name),
        content_type=uploads.clean_type(wanted.content_type) if wanted.content_type else "",
        max_bytes=_size(wanted),
        labels=check_labels(wanted.labels),
        created_by=actor.name[:150],
        created_at=now,
        expires_at=float(int(now + _life(wanted.seconds))),
    )
    if not row.name:
        raise _bad("name", "Name the file that is to come.")
    mine = UploadLink.objects.filter(created_by=row.created_by, used_at=None, revoked_at=None, expires_at__gt=now)
    if mine.count() >= MANY:
        raise TooMany(f"You have {MANY} open links to upload to.", hint="Revoke those that nobody needs.")
    row.save(force_insert=True)
    facts = {"name": row.name, "folder": row.folder, "content_type": row.content_type, "max_bytes": row.max_bytes}
    _record(actor, "upload_link.issued", row, {**facts, "until": row.expires_at, "method": "PUT"})
    return row, f"{settings.PUBLIC_URL}/shared/{signing.Signer(salt=SALT).sign_object({'u': row.pk, 'm': 'PUT'})}"


def _size(wanted: Wanted) -> int:
    limit: int = settings.MAX_RESOURCE_BYTES
    if wanted.content_type:
        limit = quotas.check_type(uploads.clean_type(wanted.content_type))
    asked = min(settings.MAX_UPLOAD_BYTES, limit) if wanted.max_bytes is None else wanted.max_bytes
    if not 1 <= asked <= limit:
        raise _bad("max_bytes", f"A file has 1 to {limit} bytes ({quotas.said(limit)}).")
    return asked


def _life(seconds: int) -> int:
    if not 1 <= seconds <= MOST:
        raise _bad("expires_in", f"A link lives 1 to {MOST} seconds.")
    return seconds


def _bad(path: str, message: str) -> BadInput:
    return BadInput(message, details=[{"path": path, "message": message}])


def _record(actor: Actor, action: str, row: UploadLink, data: dict[str, Any]) -> None:
    audit.record(actor=actor, action=action, object_type="upload_link", object_id=row.pk, data=data)


@transaction.atomic
def revoke_upload_link(*, actor: Actor, link_id: str, now: float) -> UploadLink:
    """It ends now; revoking it again changes nothing. Operators of its folder.

    Raises NotFound, NotAllowed, Conflict `link_used`.
    """
    row = UploadLink.objects.select_for_update().filter(pk=link_id).first()
    if row is None or not can(actor, Role.VIEWER, row.folder):
        raise NotFound("There is no such link to upload to, or you may not see it.")
    require(actor, Role.OPERATOR, row.folder)
    if row.used_at is not None:
        raise Conflict("The link was used already.", hint="Delete the resource instead.", code="link_used")
    if row.revoked_at is None:
        row.revoked_at = now
        row.save(update_fields=["revoked_at"])
        _record(actor, "upload_link.revoked", row, {"name": row.name})
    return row


def listed(actor: Actor, *, cursor: str | None = None, limit: int = 50) -> Page[UploadLink]:
    """Those of the folders one operates, the newest first. Raises BadInput."""
    rows: QuerySet[UploadLink] = UploadLink.objects.filter(folder_filter(actor, Role.OPERATOR))
    if cursor:
        rows = rows.filter(pk__lt=decode_cursor(cursor, str)[0])
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def opened(token: str, now: float) -> UploadLink:
    """The link to upload to that this is, if it is open. Raises NotFound, Gone `link_used|link_revoked|link_over`."""
    try:
        told: dict[str, Any] = signing.Signer(salt=SALT).unsign_object(token)
    except (signing.BadSignature, ValueError) as error:
        raise NotFound("This is no link of ours.", hint="Copy it whole.") from error
    if told["m"] != "PUT":
        raise NotFound("The link is for another method.", hint="It gives a file; it takes none.")
    row = UploadLink.objects.filter(pk=told["u"]).first()
    if row is None or row.state(now) != "open":
        raise _ended(row, now)
    return row


def _ended(row: UploadLink | None, now: float) -> OrchestraError:
    state = "over" if row is None else row.state(now)
    said = {"used": "The link was used already: it takes one file.", "revoked": "The link was revoked."}
    return Gone(said.get(state, "The link is over."), hint="Ask for a new one.", code=f"link_{state}")


def receive(*, token: str, chunks: Iterable[bytes], content_type: str, address: str, now: float) -> Artifact:
    """What came by a link, as a resource. A try that is refused leaves the link as it was.

    Raises NotFound, Gone, BadInput for another type, TooLarge, OSError.
    """
    row = opened(token, now)
    kind = uploads.clean_type(content_type or row.content_type)
    if row.content_type and kind != row.content_type:
        message = f"The link takes {row.content_type}, not {kind}."
        raise BadInput(message, hint=f"Send it with Content-Type: {row.content_type}.", code="wrong_type")

    def claim() -> None:
        """Of two at once the second waits here for the first, and finds it taken."""
        free = UploadLink.objects.filter(pk=row.pk, used_at=None, revoked_at=None)
        if not free.update(used_at=now):
            raise _ended(UploadLink.objects.filter(pk=row.pk).first(), now)

    # the authority of a link is its folder, and no more
    actor = Actor("trigger", f"upload link of {row.created_by}", address=address, scopes=(f"operator:{row.folder}",))
    return uploads.upload_resource(
        actor=actor, chunks=_bounded(chunks, row.max_bytes), name=row.name, content_type=kind, folder=row.folder,
        labels=row.labels, first=claim, then=lambda made: _used(row, made), by=row.created_by,
    )  # fmt: skip


def _used(row: UploadLink, made: Artifact) -> None:
    UploadLink.objects.filter(pk=row.pk).update(artifact=made)


def _bounded(chunks: Iterable[bytes], most: int) -> Iterable[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The link takes at most {most} bytes ({quotas.said(most)}).")
        yield chunk
    if not size:
        raise BadInput("Nothing came.", hint="Send the file as the body: curl -T FILE.", code="empty")


def forget(now: float) -> bool:
    """The keeper's: one batch of those that ended long ago; are there more?"""
    old = UploadLink.objects.filter(expires_at__lt=now - LISTED).order_by("expires_at")
    found = list(old.values_list("pk", flat=True)[:BATCH])
    UploadLink.objects.filter(pk__in=found).delete()
    return len(found) == BATCH
