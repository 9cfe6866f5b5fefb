"""Secrets in what a runner says. The machine it works on may have them, too, and programs print what they know: the
values of all secrets that the run's own release uses, and the runner's token, are replaced like those of any step.

A log comes in pieces, each in a request of its own. What may be the beginning of a value is held back, sealed, until
the next piece or the end tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flows import bindings
from flows.definition.bindings import Place, stands_for
from resources import backends, connections, crypto, secrets
from resources.errors import NotFound
from resources.masking import Masker, Stream
from resources.models import Connection
from runs import uses
from runs.jobs.models import Job
from runs.loading import plan_of
from runs.models import Run

Json = Any


def masker_of(job: Job) -> Masker:
    """`job`: as reports.held_job gives it. Outside of transactions: a value may be kept elsewhere.

    Raises backends.errors.Unreachable.
    """
    masker = Masker([job.runner.token.plain] if job.runner is not None else [])
    for name in sorted(_names(job)):
        for value in _values(name):
            masker.add(value)
    return masker


def _names(job: Job) -> set[str]:
    """The secrets of its run: of the connections that the release may reach, and of signed calls."""
    run = Run.objects.select_related("flow").only("release_id", "trigger", "flow__slug").get(pk=job.run_id)
    plan, place = plan_of(run.release_id), Place(run.flow.slug, bool(run.trigger.get("test")))
    bound = bindings.read(names=plan.connections, flow=run.flow.slug)
    real = {stands_for(name, place, bound) for name in plan.connections}
    rows = Connection.objects.filter(name__in=real).values_list("kind", "settings")
    return {name for kind, settings in rows for name in connections.secrets_in(kind, settings)} | uses.secrets_of(plan)


def _values(name: str) -> list[str]:
    """None of a secret that is gone or cannot be read: no step can have sent it."""
    try:
        return secrets.reveal_all(name)
    except (NotFound, crypto.CannotDecrypt, backends.errors.Refused):
        return []


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
