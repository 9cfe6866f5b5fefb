"""What a job says, piece by piece: kept in order, shown while it runs, and one resource in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import transaction

from resources import artifacts
from resources.errors import Conflict, TooLarge
from resources.masking import Masker
from runs import clock
from runs.jobs import claims, masks, waits
from runs.jobs.models import Job, JobLog

Json = Any
MAX_PIECE: Final = 256 * 1024
MAX_LOG: Final = 16 * 1024 * 1024
_DATA: Final[Any] = JobLog._meta.get_field("data")
_CUT: Final = f"\n[cut here: {MAX_LOG // 1024 // 1024} MiB of a log are kept]\n".encode()


def append(*, job: Job, fence: int, offset: int, data: bytes) -> dict[str, Json]:
    """Gives {size, full}: where the next piece goes, and whether it is kept. What is there already changes nothing.

    Raises Conflict `old_fence` | `wrong_offset`, Gone, TooLarge, backends.errors.Unreachable.
    """
    from runs.jobs.reports import not_held

    if len(data) > MAX_PIECE:
        raise TooLarge(f"A piece of a log has at most {MAX_PIECE} bytes.", code="log_piece")
    masker = masks.masker_of(job)
    with transaction.atomic():
        row = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
        if row.state != Job.State.CLAIMED or row.fence != fence:
            raise not_held(row, fence)
        if offset > row.log_size or offset < row.log_size < offset + len(data):
            raise Conflict(
                f"The log has {row.log_size} bytes.", code="wrong_offset",
                hint="Go on where details.size says.", details={"size": row.log_size},
            )  # fmt: skip
        if data and offset == row.log_size < MAX_LOG:
            _keep(row, data, masker)
        claims.beat(row, fence, clock.now(), {})
        return {"size": row.log_size, "full": row.log_size >= MAX_LOG}


def _keep(job: Job, data: bytes, masker: Masker) -> None:
    """The offset counts what was sent; the cut is not counted, nor what a mask changes."""
    if job.log_size + len(data) >= MAX_LOG:
        shown = masks.add(job, masker, data[: MAX_LOG - job.log_size], last=True) + _CUT
    else:
        shown = masks.add(job, masker, data)
    JobLog.objects.create(job=job, offset=job.log_size, data=_DATA.kept(shown, job.pk, job.log_size))
    job.log_size += len(data)
    job.save(update_fields=["log_size", "held"])
    waits.show(job, shown.decode(errors="replace"))


def seal(job: Job, masker: Masker) -> tuple[Json, int]:
    """(What an output names the log by, or None where it said nothing; its bytes.)

    Outside transactions; the pieces go when the keeper finds their job ended.
    """
    if not JobLog.objects.filter(job=job).exists():
        return None, 0
    row = artifacts.write(
        _pieces(job, masker), content_type="text/plain", name=f"{job.step}.log", run_id=job.run_id, step=job.step,
        folder=job.folder,
    )  # fmt: skip
    return artifacts.ref(row), row.size


def _pieces(job: Job, masker: Masker) -> Iterator[bytes]:
    for offset, data in JobLog.objects.filter(job=job).order_by("offset").values_list("offset", "data").iterator(20):
        yield _DATA.plain(bytes(data), job.pk, offset)
    yield masks.add(job, masker, b"", last=True)


def prune(now: float) -> float:
    """The keeper's duty: pieces of jobs that ended a while ago. Gives when to look again."""
    old = Job.objects.filter(ended_at__lt=now - KEPT, pieces__isnull=False).values_list("pk", flat=True).distinct()[:50]
    found = list(old)
    JobLog.objects.filter(job__in=found).delete()
    return now if len(found) == 50 else now + 300.0


#: seconds that pieces stay after their job ended
KEPT: Final = 60.0
