"""What the config of a `wait` says, alone or as one of several in `first`. Pure; a config may still hold anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Any
FAMILY: Final = "wait"
#: the name of the alternative where there is only one
ALONE: Final = ""


def parts(config: Mapping[str, Json]) -> Iterator[tuple[tuple[str, ...], str, Mapping[str, Json]]]:
    """(path, name of the alternative, its tree) of everything it waits for: {"callback": …} and so on."""
    yield (), ALONE, config
    several = config.get("first")
    for name, tree in several.items() if isinstance(several, Mapping) else ():
        if isinstance(tree, Mapping):
            yield ("first", name), name, tree


def of_kind(config: Mapping[str, Json], kind: str) -> dict[str, Mapping[str, Json]]:
    """{name of the alternative: its config} of one kind: callback, event."""
    return {name: tree[kind] for _, name, tree in parts(config) if isinstance(tree.get(kind), Mapping)}


def callback_of(config: Mapping[str, Json]) -> tuple[str, Mapping[str, Json]] | None:
    """(name of the alternative, its config) of the callback that answers it; there is at most one."""
    return next(iter(of_kind(config, "callback").items()), None)


def without_match(config: Mapping[str, Json]) -> dict[str, Json]:
    """The part that is worked out when an attempt starts: `match` reads an event that has not come yet."""

    def bare(tree: Mapping[str, Json]) -> dict[str, Json]:
        event = tree.get("event")
        if not isinstance(event, Mapping):
            return dict(tree)
        return {**tree, "event": {key: value for key, value in event.items() if key != "match"}}

    found = bare(config)
    several = config.get("first")
    if isinstance(several, Mapping):
        found["first"] = {name: bare(tree) if isinstance(tree, Mapping) else tree for name, tree in several.items()}
    return found


def normal(config: Json) -> Json:
    """The long form: `callback:` with nothing behind it is {}."""
    if not isinstance(config, dict):
        return config
    found = {**config, "callback": {}} if "callback" in config and config["callback"] is None else config
    several = found.get("first")
    if isinstance(several, dict) and any(_bare(tree) for tree in several.values()):
        found = {**found, "first": {k: {**v, "callback": {}} if _bare(v) else v for k, v in several.items()}}
    return found


def _bare(tree: Json) -> bool:
    return isinstance(tree, dict) and "callback" in tree and tree["callback"] is None
