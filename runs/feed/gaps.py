"""A cursor over ids that are not handed out in commit order. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from runs.feed.notices import Event


class GapCursor:
    """Remembers the ids it jumped over, so that they are asked for again until they commit or grow old.

    A sequence gives ids before the commit: with several writers a smaller id can appear after a larger one.
    `patience`: seconds after which a missing id counts as rolled back; longer than any writing transaction.
    """

    MOST = 5_000  # missing ids remembered; a leap of the sequence must not fill the memory

    def __init__(self, last: int, *, patience: float = 30.0) -> None:
        self.last = last
        self._patience = patience
        self._missing: dict[int, float] = {}

    @property
    def missing(self) -> list[int]:
        return list(self._missing)

    def expect(self, ids: Iterable[int], now: float) -> None:
        """These were not there at the start, and may still commit."""
        self._missing.update(dict.fromkeys(ids, now))

    def take(self, events: Iterable[Event], now: float) -> list[Event]:
        """The events not told before, in the order given (ascending ids). `now`: monotonic seconds."""
        fresh = []
        for event in events:
            if event.id > self.last:
                self.expect(range(max(self.last + 1, event.id - self.MOST), event.id), now)
                self.last = event.id
            elif self._missing.pop(event.id, None) is None:
                continue
            fresh.append(event)
        self._forget(now)
        return fresh

    def _forget(self, now: float) -> None:
        for id_ in [i for i, since in self._missing.items() if now - since > self._patience]:
            del self._missing[id_]
        for id_ in sorted(self._missing)[: -self.MOST]:
            del self._missing[id_]
