"""A search by a step: it finds what whoever views the flow's folder could find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resources.access import Actor
from resources.models import Role

Json = Any


def search(flow: str, folder: str, config: Mapping[str, Json]) -> dict[str, Json]:
    """{"hits": [{kind, id, title, snippet, score, url, at, status, object}], "total", "more"}. Raises BadInput."""
    # late: a worker starts without the library of the API and without what only searches need
    from resources.api import moment
    from runs.search import finding, hits

    actor = Actor("trigger", flow, scopes=(f"{Role.VIEWER.value}:{folder}",))
    narrow = config["filters"]
    since, before = (moment(narrow[key], key) if narrow[key] else None for key in ("since", "before"))
    asked = finding.Asked(
        config["query"], tuple(config["in"]), narrow["flow"], narrow["folder"], narrow["label"], narrow["status"],
        since, before, limit=config["limit"],
    )  # fmt: skip
    found = hits.search(actor, asked, hydrate=config["hydrate"])
    return {"hits": [_out(hit, config["hydrate"]) for hit in found.hits], "total": found.total, "more": found.more}


def _out(hit: Any, hydrate: bool) -> dict[str, Json]:
    from resources.api import iso

    shown = {name: getattr(hit, name) for name in ("kind", "id", "title", "score", "url", "status")}
    more = {"object": hit.object} if hydrate else {}
    return {**shown, "snippet": hit.snippet.text, "at": iso(hit.at), **more}
