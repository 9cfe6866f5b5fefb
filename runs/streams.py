"""Resources that an attempt reads and writes: bytes in pieces, masked on their way in, read only where the run may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flows.steps.base import Fetched, Refused
from resources import artifacts
from resources.access import covers
from resources.errors import OrchestraError
from resources.masking import Masker
from runs import holding

Json = Any


@dataclass(frozen=True, slots=True)
class Streams:
    """Of one attempt at `step`, which resources it makes belong to. `folder`: of the flow."""

    run_id: str
    step: str
    folder: str
    masker: Masker

    def store(self, chunks: Iterable[bytes], *, name: str, content_type: str) -> dict[str, Json]:
        """What an output names the new resource by. Raises TooLarge, OSError."""
        made = artifacts.write(
            self._masked(chunks), content_type=content_type, name=name,
            run_id=self.run_id, step=self.step, folder=self.folder,
        )  # fmt: skip
        return artifacts.ref(made)

    def _masked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        stream = self.masker.stream()
        for chunk in chunks:
            yield stream.feed(chunk)
        yield stream.close()

    def fetch(self, resource: Json) -> Fetched:
        """A resource of the run's own folder or of one below it. Raises Refused."""
        name = resource.get("$res") if isinstance(resource, dict) else resource
        if not isinstance(name, str) or not name.startswith(artifacts.PREFIX):
            raise Refused("Name a resource by its address, such as ${{ steps.export.output.rows }} or res://….")
        try:
            found = artifacts.get(name)
            if not covers(self.folder, found.folder):
                raise Refused(f"The resource {name} belongs to the folder {found.folder or '/'}, not to this flow's.")
            if found.run_id != self.run_id:
                holding.use(found.pk, self.run_id)
            file = artifacts.open_row(found)
        except OrchestraError as error:
            raise Refused(error.message) from error
        return Fetched(file, found.name, found.content_type, found.size)
