"""Large uploads in parts: announced, sent piece by piece, completed by their digest. They survive restarts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from django.conf import settings
from django.db import transaction

from resources import artifacts, blobs, quotas, uploads
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotFound, TooMany
from resources.labels import check_labels
from resources.models import Artifact, Blob, Upload, UploadPart

#: seconds an upload may take
LIFE: Final = 24 * 3600.0
#: uploads of one person or token at a time
MOST: Final = 20
MAX_PARTS: Final = 10_000
BATCH: Final = 50


@transaction.atomic
def begin_upload(
    *, actor: Actor, name: str, content_type: str, folder: str, size: int, labels: dict[str, str], now: float
) -> Upload:
    """`size`: of all of it, in bytes. Operators of the folder. Raises BadInput, NotAllowed, TooLarge, TooMany."""
    kind, folder, marks = uploads.clean_type(content_type), uploads.check_folder(actor, folder), check_labels(labels)
    quotas.check_type(kind, size)
    quotas.check_total(size, counted=False)
    if Upload.objects.filter(owner=actor.name[:150], expires_at__gt=now).count() >= MOST:
        raise TooMany(f"You have {MOST} uploads under way.", hint="Complete or abandon one.")
    return Upload.objects.create(
        owner=actor.name[:150], name=uploads.clean_name(name), content_type=kind, folder=folder,
        size=size, labels=marks, expires_at=now + LIFE,
    )  # fmt: skip


def get(*, actor: Actor, upload_id: str, now: float) -> Upload:
    """Of its owner only. Raises NotFound."""
    found = Upload.objects.filter(pk=upload_id, owner=actor.name[:150], expires_at__gt=now).first()
    if found is None:
        raise NotFound("There is no such upload.", hint="It is complete, or took longer than a day. Begin anew.")
    return found


def add_part(*, actor: Actor, upload_id: str, offset: int, chunks: Iterable[bytes], now: float) -> Upload:
    """The bytes from `offset` on. Raises NotFound, Conflict `wrong_offset`, BadInput, TooLarge, OSError."""
    _expect(get(actor=actor, upload_id=upload_id, now=now), offset)

    def add(blob: Blob) -> Upload:
        upload = Upload.objects.select_for_update().filter(pk=upload_id).first()
        if upload is None:
            raise NotFound("There is no such upload.")
        _expect(upload, offset)
        if offset + blob.size > upload.size:
            raise BadInput(f"The upload was announced with {upload.size} bytes.", code="too_many_bytes")
        if upload.parts.count() >= MAX_PARTS:
            raise BadInput(f"An upload has at most {MAX_PARTS} parts.", hint="Send larger ones.")
        UploadPart.objects.create(upload=upload, start=offset, blob=blob)
        upload.received = offset + blob.size
        upload.save(update_fields=["received"])
        return upload

    with blobs.spooled(chunks, most=settings.MAX_UPLOAD_BYTES) as content:
        if not content.size:
            raise BadInput("The part is empty.")
        return blobs.keep(content, add)


def _expect(upload: Upload, offset: int) -> None:
    if upload.received != offset:
        message = f"The next byte is {upload.received}, not {offset}."
        raise Conflict(message, code="wrong_offset", hint="Go on there.", details={"offset": upload.received})


def complete_upload(*, actor: Actor, upload_id: str, sha256: str, now: float) -> Artifact:
    """All parts as one resource. Raises NotFound, Conflict `incomplete`, BadInput for another digest; then the upload
    stays as it is."""
    upload = get(actor=actor, upload_id=upload_id, now=now)
    if upload.received != upload.size:
        message = f"{upload.received} of {upload.size} bytes are here."
        raise Conflict(message, code="incomplete", details={"offset": upload.received})

    def end(row: Artifact) -> None:
        if row.sha256 != sha256.lower():
            raise BadInput(f"What came has the SHA-256 {row.sha256}.", code="wrong_digest")
        if not Upload.objects.filter(pk=upload_id).delete()[0]:
            raise NotFound("There is no such upload.", hint="It was completed a moment ago.")

    digests = list(upload.parts.values_list("blob", flat=True))
    made = uploads.upload_resource(
        actor=actor, chunks=_bytes(upload), name=upload.name, content_type=upload.content_type,
        folder=upload.folder, labels=upload.labels, then=end,
    )  # fmt: skip
    _drop(digests)
    return made


def _bytes(upload: Upload) -> Iterator[bytes]:
    for part in upload.parts.select_related("blob").order_by("start"):
        with blobs.Reader(part.blob) as file:
            while piece := file.read(artifacts.PIECE):
                yield piece


def abandon_upload(*, actor: Actor, upload_id: str, now: float) -> None:
    """Raises NotFound."""
    _forget([get(actor=actor, upload_id=upload_id, now=now).pk])


def forget_expired(now: float) -> bool:
    """The keeper's: one batch of uploads that took too long; are there more?"""
    over = Upload.objects.filter(expires_at__lte=now).order_by("expires_at")
    found = list(over.values_list("pk", flat=True)[:BATCH])
    _forget(found)
    return len(found) == BATCH


def _forget(ids: list[str]) -> None:
    digests = list(UploadPart.objects.filter(upload__in=ids).values_list("blob", flat=True))
    Upload.objects.filter(pk__in=ids).delete()
    _drop(digests)


def _drop(digests: list[str]) -> None:
    for sha256 in set(digests):
        blobs.drop_unused(sha256)
