"""Secrets in what a runner says. The machine it works on may have them, too, and programs print what they know: the
values of all secrets that the run's own release uses, and the runner's token, are replaced like those of any step.

A log comes in pieces, each in a request of its own. What may be the beginning of a value is held back, sealed, until
the next piece or the end tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from resources import crypto
from resources.masking import Masker, Stream
from runs.jobs.models import Job
from runs.masks import of_run


def masker_of(job: Job) -> Masker:
    """`job`: as reports.held_job gives it. Outside of transactions: a value may be kept elsewhere.

    Raises backends.errors.Unreachable.
    """
    token = [job.runner.token.plain] if job.runner is not None else []
    return of_run(job.run_id, also=token)


def masked(masker: Masker, chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = masker.stream()
    for chunk in chunks:
        yield stream.feed(chunk)
    yield stream.close()


def add(job: Job, masker: Masker, piece: bytes, *, last: bool = False) -> bytes:
    """What may be kept and shown now of a log that goes on with `piece`; `job.held` is set to the rest."""
    stream = Stream(masker, *_held(job))
    out = stream.feed(piece) + (stream.close() if last else b"")
    held, covered = stream.rest if not last else (b"", 0)
    job.held = crypto.seal(b"%d:%b" % (covered, held), aad=_place(job)) if held else b""
    return out


def _held(job: Job) -> tuple[bytes, int]:
    if not job.held:
        return b"", 0
    try:
        covered, _, held = crypto.open_(bytes(job.held), aad=_place(job)).partition(b":")
    except crypto.CannotDecrypt:  # its key is gone: a few bytes of a log that nobody may see unmasked
        return b"", 0
    return held, int(covered)


def _place(job: Job) -> bytes:
    return crypto.place("runs_job", job.pk, "held")
