"""Model fields shared by all apps: JSON as text, and columns of payloads, which may be sealed at rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from django.utils.functional import cached_property

from resources.jsontext import dumps
from resources.payloads import MARKS, Column, Sealed, is_sealed

__all__ = ["JSONText", "PayloadBytes", "PayloadText", "Sealable", "dumps"]
_MARKS = tuple(mark.encode() for mark in MARKS)


class _Opening(DeferredAttribute):
    """Opens a sealed value when it is read for the first time: only then the whole row is known."""

    field: Any

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        if instance is None:
            return self
        name, kept = self.field.attname, instance.__dict__
        value = kept[name] if name in kept else super().__get__(instance, cls)
        if type(value) is Sealed:
            value = kept[name] = self.field.opened(value, instance)
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class Sealable(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """A text column that may be sealed. `row`: the fields that name its row, known before it is inserted.

    Without `row` it never is. `row` is no part of the column's definition: migrations do not know it.
    A value in an `update()` has no row: seal it with `of_row`, or it is bound to its column only. A value out of
    `values_list()` is opened with `read`.
    """

    def __init__(self, *args: Any, row: Sequence[str] = (), tag: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row, self.tag = tuple(row), tag
        if row:
            self.descriptor_class = _Opening

    @cached_property
    def payload(self) -> Column:
        """Its codec."""
        return Column(self.model._meta.db_table, self.name, self.row, self.tag)

    def _text(self, value: Any) -> str:
        return str(value)

    def _value(self, text: str) -> Any:
        return text

    def opened(self, value: Sealed, instance: models.Model) -> Any:
        """Raises CannotDecrypt."""
        return self._value(self.payload.open(value, self._row_of(instance)))

    def _row_of(self, instance: models.Model) -> list[Any]:
        return [getattr(instance, name) for name in self.row]

    def read(self, value: Any, *row: object) -> Any:
        """What values_list() gave, opened. Raises CannotDecrypt."""
        return self._value(self.payload.open(value, row)) if type(value) is Sealed else value

    def of_row(self, value: Any, *row: object) -> Any:
        """`value` for an `update()` of this very row."""
        return self._kept(value, row)

    def _kept(self, value: Any, row: Sequence[object] | None) -> Any:
        if value is None or isinstance(value, Sealed) or hasattr(value, "resolve_expression"):
            return value
        text = self._text(value)
        if settings.ENCRYPT_PAYLOADS or is_sealed(text):  # else it would be taken for a sealed one
            return Sealed(self.payload.seal(text, row, self.payload.tag_of(value)))
        return Sealed(text)

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        if value is None:
            return None
        return Sealed(value) if self.row and is_sealed(value) else self._value(value)

    def to_python(self, value: Any) -> Any:
        return value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        return self._kept(value, self._row_of(model_instance)) if self.row else value

    def get_prep_value(self, value: Any) -> Any:
        if not self.row:
            return None if value is None else self._text(value)
        kept = self._kept(value, None)
        return str(kept) if isinstance(kept, Sealed) else kept

    def value_to_string(self, obj: models.Model) -> str:
        return self._text(self.value_from_object(obj))


class PayloadText(Sealable):
    """Plain text that may be sealed. For migrations it is a TextField."""

    _pyi_private_set_type: str
    _pyi_private_get_type: str

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs


class JSONText(Sealable):
    """JSON kept as text, byte for byte.

    Not jsonb: it reorders keys, rewrites numbers and refuses U+0000, and what people approved must stay
    exactly what they saw. It is also cheaper to write from hand-made SQL, the same on both databases.
    """

    _pyi_private_set_type: Any  # what the type checker takes for the attribute's type: any JSON
    _pyi_private_get_type: Any

    def _text(self, value: Any) -> str:
        return dumps(value)

    def _value(self, text: str) -> Any:
        return json.loads(text)


class PayloadBytes(models.BinaryField):  # type: ignore[type-arg]
    """Bytes that may be sealed, by whoever writes and reads them (`kept`, `plain`). For migrations a BinaryField."""

    def __init__(self, *args: Any, row: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = tuple(row)

    @cached_property
    def payload(self) -> Column:
        return Column(self.model._meta.db_table, self.name, self.row)

    def kept(self, data: bytes, *row: object) -> bytes:
        if settings.ENCRYPT_PAYLOADS or data.startswith(_MARKS):  # else it would be taken for a sealed one
            return self.payload.seal_bytes(data, row).encode()
        return data

    def plain(self, data: bytes, *row: object) -> bytes:
        """Raises CannotDecrypt."""
        return self.payload.open_bytes(data.decode("ascii"), row) if data.startswith(_MARKS) else data

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.BinaryField", args, kwargs
