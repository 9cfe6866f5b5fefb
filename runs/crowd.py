"""Whoever writes the same kind of thing at the same moment shares one transaction: the first to come writes for all.

Nobody waits for company: while one transaction is under way others gather, and one of them writes the next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from django.db import DatabaseError, OperationalError, transaction

T = TypeVar("T")
#: written together at most
MOST: Final = 32


@dataclass(slots=True, eq=False)
class _One(Generic[T]):
    """`told`: the outcome is known, or there is none yet and it is this one's turn to write."""

    item: T
    told: threading.Event = field(default_factory=threading.Event)
    outcome: bool | OperationalError | None = None


class Crowd(Generic[T]):
    """`write(items)` says of each item whether it was written, in a transaction that it does not begin or end."""

    def __init__(self, write: Callable[[Sequence[T]], Sequence[bool]]) -> None:
        self._write = write
        self._clear()
        os.register_at_fork(after_in_child=self._clear)  # the threads of the parent are not in the child

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_One[T]] = []
        self._busy = False

    def join(self, item: T) -> bool:
        """True: it is committed. False: nothing of it is written, try it alone. Call it outside of transactions.

        Raises OperationalError where the database takes nothing.
        """
        one = _One(item)
        with self._lock:
            self._waiting.append(one)
            mine, self._busy = not self._busy, True
        if not mine:
            one.told.wait()
        if one.outcome is None:
            self._write_all()
        if isinstance(one.outcome, OperationalError):
            raise OperationalError(*one.outcome.args) from one.outcome
        return one.outcome is True

    def _write_all(self) -> None:
        batch = list[_One[T]]()
        try:
            with transaction.atomic():  # others gather while this waits to begin
                batch = self._take()
                written = self._write([one.item for one in batch])
            for one, done in zip(batch, written, strict=True):
                one.outcome = done
        except OperationalError as error:
            batch = batch or self._take()
            for one in batch:
                one.outcome = error
        except DatabaseError:  # by one of them, nobody knows which: each alone is told what is wrong with it
            pass
        finally:
            self._hand_on(batch or self._take())

    def _take(self) -> list[_One[T]]:
        with self._lock:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        return batch

    def _hand_on(self, batch: Sequence[_One[T]]) -> None:
        with self._lock:
            following = self._waiting[:1]
            self._busy = bool(following)
        for one in batch:
            if one.outcome is None:
                one.outcome = False
        for one in (*following, *batch):
            one.told.set()
