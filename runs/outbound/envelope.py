"""An entry of a run's history as a CloudEvent (1.0, structured JSON). Pure.

The same entry gives the same bytes at every attempt and the same id for ever: a receiver that keeps ids handles each
event once. What leaves is listed field by field in `types`; nothing else of the entry does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from resources.fields import dumps
from runs.outbound.types import PUBLISHED, TEST_TYPE, Published, schema_url

Json = Any
CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
#: bytes of one output, as JSON, that leave; a larger one stays here
MAX_OUTPUT_BYTES: Final = 16 * 1024
#: characters of one text that leave: an error's message, a comment
MAX_TEXT: Final = 4_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is needed of the history. `at`: epoch seconds; `item` below 0: no item."""

    run: str
    seq: int
    type: str
    step: str
    item: int
    at: float
    actor: str
    data: Mapping[str, Json]
    flow: str
    folder: str
    release: str


def event_id(run: str, seq: int) -> str:
    """CloudEvents `id` and `webhook-id`."""
    return f"evt_{run}_{seq}"


def event(entry: Entry, *, base_url: str, include_output: bool) -> dict[str, Json]:
    """The CloudEvent. Raises KeyError for a type that is not published."""
    kind = PUBLISHED[entry.type]
    url = f"{base_url}/runs/{entry.run}"
    data: dict[str, Json] = {
        "run": entry.run, "flow": entry.flow, "folder": entry.folder, "release": entry.release,
        "seq": entry.seq, "status": kind.status,
    }  # fmt: skip
    if entry.step:
        data["step"] = entry.step
    if entry.item >= 0:
        data["item"] = entry.item
    data |= {"actor": entry.actor, "at": iso(entry.at), "url": url, **_told(kind, entry.data, include_output)}
    about = {"id": event_id(entry.run, entry.seq), "subject": f"runs/{entry.run}"}
    return _cloud_event(kind, base_url, entry.at, about, data)


def trial_event(*, message_id: str, subscription: str, at: float, base_url: str) -> dict[str, Json]:
    """What the Test button sends: `orchestra.test.v1`."""
    about = {"id": message_id, "subject": f"subscriptions/{subscription}"}
    return _cloud_event(TEST_TYPE, base_url, at, about, {"subscription": subscription, "at": iso(at)})


def body(cloud_event: Mapping[str, Json]) -> bytes:
    """The bytes that are sent and signed."""
    return dumps(dict(cloud_event)).encode()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _cloud_event(kind: Published, base_url: str, at: float, about: Mapping[str, str], data: Json) -> dict[str, Json]:
    return {
        "specversion": "1.0",
        "source": base_url,
        "type": kind.name,
        **about,
        "time": iso(at),
        "datacontenttype": "application/json",
        "dataschema": schema_url(kind, base_url),
        "data": data,
    }


def _told(kind: Published, data: Mapping[str, Json], include_output: bool) -> dict[str, Json]:
    told: dict[str, Json] = {}
    for name in kind.fields:
        if name == "output":
            told |= _output(data.get("output")) if include_output else {}
        elif name == "error":
            told["error"] = _error(data.get("error"))
        elif name in data:
            told[name] = _bounded(data[name])
    return told


def _output(output: Json) -> dict[str, Json]:
    if len(dumps(output).encode()) > MAX_OUTPUT_BYTES:
        return {"output": None, "output_omitted": True}
    return {"output": output}


def _error(error: Json) -> Json:
    """Class, message and step: details may quote what the other side answered."""
    if not isinstance(error, Mapping):
        return None
    return {key: _bounded(error[key]) for key in ("class", "message", "step") if error.get(key)}


def _bounded(value: Json) -> Json:
    return value[:MAX_TEXT] if isinstance(value, str) else value
