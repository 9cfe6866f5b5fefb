"""Files between a job and its runner: those it was given, and those it leaves as resources of its run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from django.db import transaction

from flows.steps.job.config import FILE
from resources import artifacts
from resources.errors import BadInput, NotFound
from resources.models import Artifact
from resources.uploads import clean_type
from runs import clock
from runs.jobs import claims, masks
from runs.jobs.models import Job
from runs.jobs.reports import not_held

Json = Any
MAX_ARTIFACTS: Final = 100


def file_of(job: Job, fence: int, name: str) -> Artifact:
    """A file that the job names: its holder may read it, and no other resource. Raises NotFound, Conflict, Gone."""
    if job.state != Job.State.CLAIMED or job.fence != fence:
        raise not_held(job, fence)
    for file in job.spec["files"]:
        if file["name"] == name:
            return artifacts.get(file["resource"])
    raise NotFound("The job has no file of this name.", code="unknown_file")


def keep_artifact(*, job: Job, fence: int, name: str, content_type: str, chunks: Iterable[bytes]) -> dict[str, Json]:
    """What an output names it by. The same bytes under the same name again: the same resource.

    Raises BadInput, TooLarge, Conflict `old_fence`, Gone, backends.errors.Unreachable.
    """
    if job.state != Job.State.CLAIMED or job.fence != fence:
        raise not_held(job, fence)
    if not re.fullmatch(FILE, name):
        said = "A name has 1 to 100 letters, digits or _.- and begins with a letter or digit."
        raise BadInput(said, code="bad_name")
    if name not in job.artifacts and len(job.artifacts) >= MAX_ARTIFACTS:
        raise BadInput(f"A job leaves at most {MAX_ARTIFACTS} files.", code="too_many_files", hint="Pack them.")
    row = artifacts.write(
        masks.masked(masks.masker_of(job), chunks), content_type=clean_type(content_type), name=name,
        run_id=job.run_id, step=job.step, folder=job.folder,
    )  # fmt: skip
    made = artifacts.ref(row)
    with transaction.atomic():
        now = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
        if now.state != Job.State.CLAIMED or now.fence != fence:
            raise not_held(now, fence)
        known: dict[str, Json] | None = now.artifacts.get(name)
        if known is not None and known["sha256"] == made["sha256"]:
            return known
        now.artifacts = {**now.artifacts, name: made}
        now.save(update_fields=["artifacts"])
        claims.beat(now, fence, clock.now(), {})
    return made
