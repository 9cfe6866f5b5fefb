"""Small values that outlive a run. Every write may carry an idempotency key: a repeat changes nothing.

The write and its answer are one transaction, so that an attempt that died after its commit finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import F

from resources.errors import BadInput, Conflict, TooLarge
from resources.fields import dumps
from resources.models import KvEntry, KvWrite

Json = Any
MAX_KEY = 200
MAX_NAMESPACE = 80
MAX_VALUE_BYTES = 64 * 1024


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


def get(*, namespace: str, key: str, default: Json = None) -> Json:
    """The value, or `default` where there is none."""
    _check_key(namespace, key)
    entry = KvEntry.objects.filter(namespace=namespace, key=key).only("value").first()
    return default if entry is None else entry.value


def set(*, namespace: str, key: str, value: Json, idempotency_key: str | None = None) -> Json:
    """Write; returns {"version"}: 1 for a new key, one more each time. Raises BadInput, TooLarge."""
    _check_key(namespace, key)
    _check_value(value)

    def write() -> Json:
        entry, _ = KvEntry.objects.update_or_create(
            namespace=namespace,
            key=key,
            defaults={"value": value, "version": F("version") + 1},
            create_defaults={"value": value},
        )
        entry.refresh_from_db(fields=["version"])
        return {"version": entry.version}

    return _once(idempotency_key, write)


def delete(*, namespace: str, key: str, idempotency_key: str | None = None) -> Json:
    """Remove; returns {"deleted": was there one}."""
    _check_key(namespace, key)

    def write() -> Json:
        count, _ = KvEntry.objects.filter(namespace=namespace, key=key).delete()
        return {"deleted": count > 0}

    return _once(idempotency_key, write)


def increment(*, namespace: str, key: str, by: int | float = 1, idempotency_key: str | None = None) -> Json:
    """Add to a number, which begins at 0; returns the new number. Raises Conflict when the value is no number."""
    _check_key(namespace, key)
    if not _is_number(by):
        raise BadInput("Only a number can be added.", details=[{"path": "by"}])

    def write() -> Json:
        KvEntry.objects.get_or_create(namespace=namespace, key=key, defaults={"value": 0, "version": 0})
        entry = KvEntry.objects.select_for_update().get(namespace=namespace, key=key)
        if not _is_number(entry.value):
            raise Conflict(f"The value of {key} is not a number.", code="not_a_number")
        try:
            total = entry.value + by
        except OverflowError as error:  # a whole number too large for a fraction to be added to it
            raise BadInput("The sum is too large.", details=[{"path": "by"}]) from error
        _check_value(total)
        entry.value, entry.version = total, entry.version + 1
        entry.save(update_fields=["value", "version", "updated_at"])
        return total

    return _once(idempotency_key, write)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
