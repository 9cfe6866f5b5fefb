"""What every step family is: a pydantic config (pure, config.py) and an `execute` (step.py).

`execute` gets a resolved action and returns one of four outcomes; anything else is a bug and the
engine fails the step loudly. Families do I/O; they never touch run tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Protocol

from pydantic import BaseModel

from resources.stop import Stop

Json = Any

#: The published error classes. A flow may name them in `retry.on`, `retry.give_up_on`, `fallback.on` and `when`.
#: value: can a retry help by default?
ERROR_CLASSES: Mapping[str, bool] = {
    "timeout": True,  # the attempt's time was up; the outcome may be unknown
    "connect": True,  # nothing was sent
    "network": True,  # broke after something may have been sent
    "http_4xx": False,
    "http_429": True,
    "http_5xx": True,
    "rate_limited": True,
    "circuit_open": False,  # the connection's circuit breaker is open; nothing was sent
    "lost": True,  # the worker died or lost its lease
    "expression": False,  # an expression or template could not be resolved
    "config": False,  # the resolved config breaks the family's schema
    "input": False,
    "code": False,  # the author's function raised
    "limit": False,  # sandbox or size limit
    "budget": False,  # the run's budget for language models is used up
    "refused": False,  # a guard said no: private address, missing connection, permission
    "rejected": False,  # a person said no
    "expired": False,  # a wait's time was up, or the rounds of an `until`
    "deadline": False,  # the time of the whole step was up
    "sla": False,  # it took longer than its sla, and `on_sla` makes that a failure
    "stalled": True,  # the attempt reported no progress for `stall_after` and was stopped
    "cancelled": False,  # the attempt was asked to stop, and did
    "conflict": False,
    "compensation": False,  # of a run: something could not be undone
    "deadlock": False,  # a child would wait for a place of a concurrency key that a run above it holds
    "contract": False,  # what a step requires or promises does not hold
    "child_failed": False,  # the run of a child flow did not succeed
    "exit": False,  # a command ended with a code that is no success, or by a signal
    "unknown_outcome": False,  # may or may not have happened; a person must say
    "internal": True,  # a bug of ours or a broken part
}


@dataclass(frozen=True, slots=True)
class StepError:
    """`cls` is one of ERROR_CLASSES, `message` a sentence a person can act on, `details` JSON."""

    cls: str
    message: str
    details: Json = None


@dataclass(frozen=True, slots=True)
class Done:
    output: Json = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed, a retry may help. `after`: seconds asked for by the other side (Retry-After)."""

    error: StepError
    after: float | None = None
    acted: bool = True  # may the outside have seen an effect? False only where nothing was sent


@dataclass(frozen=True, slots=True)
class Fail:
    """Failed, a retry cannot help."""

    error: StepError


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold no worker until answered. kind: approval | callback | event | first | timer | child | job.

    `timeout` seconds until the wait ends by itself (timer: how long to sleep; others: expiry).
    `until`: absolute epoch seconds instead. `spec` is JSON kept with the wait: for an approval the
    whole request (title, summary, actions, digest, reviewers …).
    """

    kind: str
    timeout: float | None = None
    until: float | None = None
    spec: Mapping[str, Json] = field(default_factory=dict)


Outcome = Done | Retry | Fail | Wait


@dataclass(frozen=True, slots=True)
class Action:
    """A step's resolved action: what is digested, shown to reviewers, and executed byte for byte.

    `connection`: None or {"name", "id", "version", "kind"}; never a secret.
    """

    step: str
    item: int | None
    family: str
    connection: Mapping[str, Json] | None
    config: Mapping[str, Json]

    def to_json(self) -> dict[str, Json]:
        return {
            "step": self.step,
            "item": self.item,
            "family": self.family,
            "connection": dict(self.connection) if self.connection else None,
            "config": dict(self.config),
        }


class Refused(Exception):
    """A guard said no before anything was sent; the message is a sentence for the author."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A resource open for reading: close `file`. `size` in bytes."""

    file: BinaryIO
    name: str
    content_type: str
    size: int


class Store(Protocol):
    def __call__(self, chunks: Iterable[bytes], *, name: str, content_type: str) -> dict[str, Json]: ...


def cannot_store(chunks: Iterable[bytes], *, name: str, content_type: str) -> dict[str, Json]:
    raise Refused("Nothing can be stored here.")


def cannot_fetch(resource: Json) -> Fetched:
    raise Refused("No resource can be read here.")


def cannot_search(asked: Mapping[str, Json]) -> dict[str, Json]:
    raise Refused("Nothing can be searched here.")


class Meter:
    """Counts what models cost a run. This one counts nothing and has no end."""

    def left(self) -> tuple[float, float]:
        """(tokens, US dollars) that the run may still use."""
        return float("inf"), float("inf")

    def add(self, model: str, input_tokens: int, output_tokens: int, cost: float) -> None:
        """Used by this attempt, whatever comes of it. `cost` in US dollars."""


@dataclass(slots=True)
class StepContext:
    """What an attempt may know. `key` is the idempotency key, the same for all attempts of a pass."""

    run_id: str
    flow: str
    step: str
    item: int | None
    pass_no: int
    attempt: int
    key: str
    action: Action
    timeout: float  # seconds left for this attempt
    now: float  # epoch seconds when the attempt started (database clock)
    seed: int  # deterministic per pass
    log: Callable[[str], None]
    #: register a secret value so that it is masked in everything stored or shown
    mask: Callable[[str], None]
    #: a JSON value with what `mask` was told replaced. All that is kept is masked in the end, but half a value is not
    #: recognised: before a text is cut, or handed to somebody else
    masked: Callable[[Json], Json] = field(default=lambda value: value, kw_only=True)
    #: resolved actions (all items of a fan-out) of another step; the approval family uses it
    resolve: Callable[[str], list[Action]]
    #: the callback URL of a step's wait, known before it opens
    callback_url: Callable[[str], str]
    #: is that step declared irreversible? Not told, an approval assumes the worst
    irreversible: Callable[[str], bool] = field(default=lambda step: True)
    #: an approval asked again: the digest of the request this one supersedes
    previous_digest: str | None = None
    #: asked to stop (cancelled, out of time, stalled): end soon, whatever the outcome says then. Families that block
    #: wake up by `cancelled.wait(seconds)` instead of sleeping, or by `cancelled.on_stop(close)`; others are waited for
    cancelled: Stop = field(default_factory=Stop)
    #: what the attempt before left by `checkpoint`; None: nothing, or a new pass
    previous_checkpoint: Json = None
    #: say how far it is: a line, and percent (0 to 100) where known; shown while it runs, kept about once a second
    progress: Callable[[str, float | None], None] = field(default=lambda message, percent: None)
    #: what it says right now, piece by piece: the last 8 KiB are shown on the run page while it runs. Masked
    tail: Callable[[str], None] = field(default=lambda text: None)
    #: keep bytes as a resource of this run: `store(chunks, name=…, content_type=…)` gives what an output names it by,
    #: {"$res", "size", "sha256", "content_type"}. Streamed and masked; raises resources.errors.TooLarge
    store: Store = field(default=cannot_store)
    #: a resource that an input names (`res://…`, or its {"$res": …}), open for reading, where this run may read it;
    #: with its row. Raises Refused
    fetch: Callable[[Json], Fetched] = field(default=cannot_fetch)
    #: what viewers of the flow's folder find: the config of a `search` step -> {"hits", "total", "more"}. Raises
    #: resources.errors.BadInput, Refused
    search: Callable[[Mapping[str, Json]], dict[str, Json]] = field(default=cannot_search)
    #: what models may still cost this run, and what they did
    meter: Meter = field(default_factory=Meter)
    #: would the step be tried again after an error of this class that a retry may help, as its policy stands now?
    again: Callable[[str], bool] = field(default=lambda cls: False)
    #: keep JSON of at most 64 KiB for the next attempt, should this one end early; raises Refused where it is larger
    checkpoint: Callable[[Json], None] = field(default=lambda value: None)
    #: of a run started as a test: names of connections may stand for others
    test: bool = False

    def heartbeat(self) -> bool:
        """Still going on: no stall is counted. False when asked to stop: a loop can be `while ctx.heartbeat():`.

        The lease is renewed without it.
        """
        self.progress("", None)
        return not self.cancelled.is_set()

    def remaining(self) -> float:
        """Seconds left for this attempt, 0 once asked to stop."""
        return min(self.cancelled.remaining(), self.timeout)


class Family(ABC):
    """One per folder in flows/steps/, registered once in flows/steps/registry.py."""

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    title: ClassVar[str]
    summary: ClassVar[str]  # one sentence, for docs and completion
    icon: ClassVar[str] = "step"  # id of an icon in the sprite
    #: kinds of connections its `connection` may be of; none: it takes no connection
    connection_kinds: ClassVar[tuple[str, ...]] = ()
    #: may an attempt change the outside world?
    has_effect: ClassVar[bool] = True
    #: does the family itself guarantee that a repeated key has one effect?
    honours_key: ClassVar[bool] = False
    #: takes micro- or milliseconds and touches nothing outside, the database neither: may share a worker's slice
    pure: ClassVar[bool] = False

    def at_start(self, config: Json) -> Json:
        """What of a config as written is rendered when an attempt starts; the rest is looked at later. Pure."""
        return config

    def prepare(self, config: BaseModel, connection: BaseModel | None) -> dict[str, Json]:
        """The validated config as it is shown, digested and executed: JSON with every default filled in.

        `connection`: the settings of the connection it names. Pure; raises Refused for what no step may do.
        """
        return config.model_dump(mode="json", by_alias=True)

    def more_connections(self, config: BaseModel) -> Sequence[str]:
        """The connections that a config names beside its own `connection`, in order. Pure."""
        return ()

    def with_connections(
        self, ready: dict[str, Json], found: Sequence[tuple[dict[str, Json], BaseModel]]
    ) -> dict[str, Json]:
        """The prepared config with what those are: what an action says of each, its settings. Pure; raises Refused."""
        return ready

    def connections(self, action: Action) -> list[Mapping[str, Json]]:
        """All connections that an action goes by, each as an action says it."""
        return [action.connection] if action.connection is not None else []

    def pin(self, config: dict[str, Json]) -> dict[str, Json]:
        """The prepared config with what must not change between an approval and the attempt. May read the database.

        Raises Refused.
        """
        return config

    def repeatable(self, action: Action, connection: BaseModel | None) -> bool:
        """May an attempt with an unknown outcome be repeated safely? `connection`: its settings, or None."""
        return self.honours_key or not self.has_effect

    def changes(self, action: Action) -> bool:
        """May this very action change anything outside?"""
        return self.has_effect

    def get_ready(self, ctx: StepContext) -> None:  # noqa: B027  most have nothing to get ready
        """Of a pure family, before it is sure that the attempt happens: what nobody notices. May raise anything."""

    @abstractmethod
    def execute(self, ctx: StepContext) -> Outcome:
        """Run one attempt within ctx.timeout seconds. Must not raise for expected failures."""

    def describe(self, action: Action) -> str:
        """One plain sentence for a reviewer: what this action will do."""
        return f"Runs {self.name}"
