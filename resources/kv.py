"""Small values that outlive a run. Every write may carry an idempotency key: a repeat changes nothing.

The write and its answer are one transaction, so that an attempt that died after its commit finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Collate

from resources.errors import BadInput, Conflict, TooLarge
from resources.fields import dumps
from resources.models import KvEntry, KvWrite

Json = Any
MAX_KEY = 200
MAX_NAMESPACE = 80
MAX_VALUE_BYTES = 64 * 1024
MAX_LISTED_BYTES = 1024 * 1024
MAX_ITEMS = 1000  # of a list that is appended to
MAX_KEYS = 100_000  # of a namespace
MAX_TTL = 10 * 365 * 86400.0
BATCH = 1000
#: no key is empty: the row of this one keeps the highest version of whatever was removed from its namespace
_REMOVED = ""


def _check_key(namespace: str, key: str) -> None:
    for label, text, most in (("namespace", namespace, MAX_NAMESPACE), ("key", key, MAX_KEY)):
        if not text or len(text) > most or not text.isprintable():
            raise BadInput(f"A {label} has 1 to {most} printable characters.", details=[{"path": label}])


def _check_value(value: Json) -> None:
    try:
        size = len(dumps(value).encode())
    except (TypeError, ValueError) as error:
        raise BadInput("The value is not JSON.", details=[{"path": "value"}]) from error
    if size > MAX_VALUE_BYTES:
        raise TooLarge(
            f"The value has {size} bytes; at most {MAX_VALUE_BYTES} fit.", hint="Keep large values as a resource."
        )


def _once(idempotency_key: str | None, write: Callable[[], Json]) -> Json:
    """What `write` returned, now or the first time this key came. A racing second waits for the first's commit."""
    with transaction.atomic():
        if idempotency_key is None:
            return write()
        made, first = KvWrite.objects.get_or_create(pk=idempotency_key, defaults={"result": None})
        if not first:
            return made.result
        made.result = write()
        made.save(update_fields=["result"])
        return made.result


def _live(namespace: str, now: float) -> QuerySet[KvEntry]:
    """The entries of a namespace that have not expired at `now`, epoch seconds."""
    rows = KvEntry.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), namespace=namespace, version__gt=0)
    return rows.exclude(key=_REMOVED)


def get(*, namespace: str, key: str, now: float, default: Json = None) -> Json:
    """The value, or `default` where there is none."""
    value, version = entry(namespace=namespace, key=key, now=now)
    return value if version else default


def entry(*, namespace: str, key: str, now: float) -> tuple[Json, int]:
    """(value, version) of a key; (None, 0) where there is none."""
    _check_key(namespace, key)
    found = _live(namespace, now).filter(key=key).only("namespace", "key", "value", "version").first()
    return (None, 0) if found is None else (found.value, found.version)


def listed(*, namespace: str, prefix: str, now: float, after: str = "", limit: int = 100) -> tuple[list[Json], str]:
    """([{"key", "value", "version"}] in order of the keys, the last key where there are more or ""): at most `limit`
    entries, and of values together at most MAX_LISTED_BYTES."""
    # by code point in both databases, whatever PostgreSQL's own collation: the same order on every page
    by = Collate("key", "C" if connection.vendor == "postgresql" else "BINARY")
    found = _live(namespace, now).annotate(by=by).filter(by__gt=after).order_by("by")
    if prefix:  # not LIKE, which SQLite does without regard to case
        found = found.filter(by__gte=prefix, by__lt=prefix + chr(0x10FFFF))
    rows = list(found[: limit + 1])
    shown: list[Json] = []
    size = 0
    for row in rows[:limit]:
        size += len(dumps(row.value))
        if shown and size > MAX_LISTED_BYTES:
            break
        shown.append({"key": row.key, "value": row.value, "version": row.version})
    return shown, str(shown[-1]["key"]) if len(shown) < len(rows) else ""


def set(
    *, namespace: str, key: str, value: Json, now: float, ttl: float | None = None, idempotency_key: str | None = None
) -> Json:
    """Write; returns {"version"}: one more each time, and never one that the key had before, also after it was removed.
    `ttl`: seconds it lives, None: for ever.

    Raises BadInput, TooLarge.
    """
    _check_value(value)
    change = _Change(namespace, key, now, ttl)
    return _once(idempotency_key, lambda: {"version": change.write(value)})


def compare_and_set(
    *,
    namespace: str,
    key: str,
    value: Json,
    expect: int,
    now: float,
    ttl: float | None = None,
    idempotency_key: str | None = None,
) -> Json:
    """Write if the key has the version `expect` (0: there is none); returns {"swapped", "version", "value"} as it is
    then. Raises BadInput, TooLarge."""
    _check_value(value)
    change = _Change(namespace, key, now, ttl)

    def write() -> Json:
        known, version = change.read()
        if version != expect:
            change.leave()
            return {"swapped": False, "version": version, "value": known}
        return {"swapped": True, "version": change.write(value), "value": value}

    return _once(idempotency_key, write)


def append(
    *,
    namespace: str,
    key: str,
    value: Json,
    now: float,
    most: int = MAX_ITEMS,
    ttl: float | None = None,
    idempotency_key: str | None = None,
) -> Json:
    """Add to the end of a list, which begins empty; keeps the last `most`. Returns {"length", "version"}.

    Raises Conflict where the value is no list, BadInput, TooLarge.
    """
    _check_value(value)
    change = _Change(namespace, key, now, ttl)

    def write() -> Json:
        known, version = change.read()
        items = known if version else []
        if not isinstance(items, list):
            raise Conflict(f"The value of {key} is not a list.", code="not_a_list")
        items = [*items, value][-most:]
        _check_value(items)
        return {"length": len(items), "version": change.write(items)}

    return _once(idempotency_key, write)


def delete(*, namespace: str, key: str, now: float, idempotency_key: str | None = None) -> Json:
    """Remove; returns {"deleted": was there one}."""
    _check_key(namespace, key)

    def write() -> Json:
        there = _live(namespace, now).filter(key=key).exists()
        _remove(list(KvEntry.objects.select_for_update().filter(namespace=namespace, key=key)))
        return {"deleted": there}

    return _once(idempotency_key, write)


def increment(
    *,
    namespace: str,
    key: str,
    now: float,
    by: int | float = 1,
    ttl: float | None = None,
    idempotency_key: str | None = None,
) -> Json:
    """Add to a number, which begins at 0; returns the new number. `ttl` counts from the first: a window's counter.

    Raises Conflict when the value is no number, BadInput, TooLarge.
    """
    if not _is_number(by):
        raise BadInput("Only a number can be added.", details=[{"path": "by"}])
    change = _Change(namespace, key, now, ttl)

    def write() -> Json:
        known, version = change.read()
        known = known if version else 0
        if not _is_number(known):
            raise Conflict(f"The value of {key} is not a number.", code="not_a_number")
        try:
            total = known + by
        except OverflowError as error:  # a whole number too large for a fraction to be added to it
            raise BadInput("The sum is too large.", details=[{"path": "by"}]) from error
        _check_value(total)
        change.write(total, renew=not version)
        return total

    return _once(idempotency_key, write)


class _Change:
    """One key, locked from the first look until the transaction ends. `ttl`: seconds, None: for ever."""

    def __init__(self, namespace: str, key: str, now: float, ttl: float | None) -> None:
        _check_key(namespace, key)
        if ttl is not None and not 0 < ttl <= MAX_TTL:
            raise BadInput("A value lives for more than 0 s and at most 10 years.", details=[{"path": "ttl"}])
        self.namespace, self.key, self.now = namespace, key, now
        self.expires_at = None if ttl is None else now + ttl
        self._row: KvEntry | None = None

    def _locked(self) -> KvEntry:
        """The key's row; a new one has the version 0. Raises TooLarge for a namespace that is full."""
        place = {"namespace": self.namespace, "key": self.key}
        while self._row is None:
            _, made = KvEntry.objects.get_or_create(**place, defaults={"value": None, "version": 0})
            if made and self._full():
                raise TooLarge(
                    f"{self.namespace} has {MAX_KEYS} keys already.", hint="Delete some, or give them a ttl."
                )
            # None: somebody deleted it between the two
            self._row = KvEntry.objects.select_for_update().filter(**place).first()
        return self._row

    def _full(self) -> bool:
        return KvEntry.objects.filter(namespace=self.namespace).exclude(key=_REMOVED).count() > MAX_KEYS

    def _removed(self) -> int:
        """A version that this key never went beyond while it was there before."""
        rows = KvEntry.objects.filter(namespace=self.namespace, key=_REMOVED)
        return rows.values_list("version", flat=True).first() or 0

    def read(self) -> tuple[Json, int]:
        """(value, version); (None, 0) where there is none."""
        row = self._locked()
        gone = row.expires_at is not None and row.expires_at <= self.now
        if gone or row.version == 0:
            return None, 0
        return row.value, row.version

    def leave(self) -> None:
        """Nothing is written: what was made to lock a key that is not there goes again."""
        if self._locked().version == 0:
            self._locked().delete()

    def write(self, value: Json, *, renew: bool = True) -> int:
        """The new version, which goes up even where the last value had expired."""
        row = self._locked()
        row.value, row.version = value, (row.version or self._removed()) + 1
        if renew:
            row.expires_at = self.expires_at
        row.save(update_fields=["value", "version", "expires_at", "updated_at"])
        return row.version


@transaction.atomic
def forget(now: float) -> int:
    """Remove what has expired, a batch at most; how many."""
    old = KvEntry.objects.select_for_update(skip_locked=True).filter(expires_at__lte=now).order_by("expires_at")
    return _remove(list(old[:BATCH]))


def _remove(rows: Sequence[KvEntry]) -> int:
    """Delete locked rows. Who still has a version of one must not take the next value of the key for it."""
    highest: dict[str, int] = {}
    for row in rows:
        highest[row.namespace] = max(row.version, highest.get(row.namespace, 0))
    for namespace, version in sorted(highest.items()):
        place = {"namespace": namespace, "key": _REMOVED}
        KvEntry.objects.get_or_create(**place, defaults={"value": None, "version": version})
        KvEntry.objects.filter(**place, version__lt=version).update(version=version)
    return KvEntry.objects.filter(pk__in=[row.pk for row in rows]).delete()[0]


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
