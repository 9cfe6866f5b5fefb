"""Resources that the input of a run names: they are there, its starter may read them, and its flow reaches them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from flows.definition.resource_inputs import Named, named
from flows.startform import PREFIX, Field
from resources import artifacts, catalogue, uploads
from resources.access import Actor, can, covers
from resources.errors import OrchestraError
from resources.models import Artifact, Role

Json = Any
_ADDRESS: Final = re.compile(r"res://[0-9a-z]{26}")
MOST: Final = 500


def resource_problems(actor: Actor, folder: str, schema: Mapping[str, Json], value: Json) -> list[dict[str, Json]]:
    """[{path, message}] for a `value` that fits its schema. `folder`: the flow's."""
    found = list(named(schema, value))
    if len(found) > MOST:
        return [{"path": [], "message": f"An input names at most {MOST} resources."}]
    ids = {one.address.removeprefix(artifacts.PREFIX) for one in found if _ADDRESS.fullmatch(one.address)}
    rows = {str(row): row for row in Artifact.objects.filter(pk__in=ids, condemned_at__isnull=True)} if ids else {}
    said = [(one, _problem(actor, folder, one, rows.get(one.address))) for one in found]
    return [{"path": list(one.path), "message": message} for one, message in said if message]


def _problem(actor: Actor, folder: str, one: Named, row: Artifact | None) -> str:
    if not _ADDRESS.fullmatch(one.address):
        return "A resource is named by its address, res:// and its id."
    if row is None or not can(actor, Role.VIEWER, row.folder):
        return "There is no such resource among those that you may read."
    if not covers(folder, row.folder):
        return f"The resource is in the folder {row.folder or '/'}; the flow reads those of {folder or '/'} and below."
    return "" if one.takes(row.media) else f"The resource is {row.content_type}; {one.media} is asked for."


def choices(actor: Actor, folder: str, media: str) -> list[tuple[str, str]]:
    """(address, name) of the latest resources that a form may offer, 20 at most."""
    rows = catalogue.visible(actor)
    if folder:
        rows = rows.filter(folder=folder) | rows.filter(folder__startswith=f"{folder}/")
    if media.endswith("/*"):
        rows = rows.filter(content_type__startswith=media[:-1])
    elif media:
        rows = rows.filter(catalogue.of_media(media))
    return [(str(row), row.name or row.content_type) for row in rows.order_by("-created_at", "-pk")[:20]]


def offered(actor: Actor, folder: str, fields: Iterable[Field]) -> list[Field]:
    """The controls, those of resources with what they offer."""
    return [replace(f, offered=choices(actor, folder, f.media)) if f.kind == "resource" else f for f in fields]


def take_files(
    actor: Actor, folder: str, fields: Iterable[Field], files: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Keep what a form brings for its resources: (addresses by control, errors by property)."""
    taken, errors = dict[str, str](), dict[str, str]()
    for field in fields:
        file = files.get(f"{field.name}.file") if field.kind == "resource" else None
        if file is None:
            continue
        try:
            made = uploads.upload_resource(
                actor=actor, chunks=file.chunks(), name=file.name, content_type=file.content_type or "", folder=folder
            )
            taken[field.name] = str(made)
        except OrchestraError as error:
            errors[field.name.removeprefix(PREFIX)] = f"{error.message} {error.hint}".strip()
    return taken, errors
