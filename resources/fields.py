"""Model fields shared by all apps."""

from __future__ import annotations

import json
from typing import Any

from django.db import models

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: Any) -> str:
    """Compact JSON text, NaN and infinity refused (ValueError): what every JSON column holds.

    Readable UTF-8, but for text no UTF-8 can hold (a lone surrogate, legal in JSON): that is escaped whole.
    """
    text = _ENCODER.encode(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


class JSONText(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """JSON kept as text, byte for byte.

    Not jsonb: it reorders keys, rewrites numbers and refuses U+0000, and what people approved must stay
    exactly what they saw. It is also cheaper to write from hand-made SQL, the same on both databases.
    """

    _pyi_private_set_type: Any  # what the type checker takes for the attribute's type: any JSON
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else dumps(value)

    def value_to_string(self, obj: models.Model) -> str:
        return dumps(self.value_from_object(obj))
