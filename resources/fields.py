"""Model fields shared by all apps."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


def dumps(value: Any) -> str:
    """Compact JSON text, NaN and infinity refused (ValueError): what every JSON column holds."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class JSONText(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """JSON kept as text, byte for byte.

    Not jsonb: it reorders keys, rewrites numbers and refuses U+0000, and what people approved must stay
    exactly what they saw. It is also cheaper to write from hand-made SQL, the same on both databases.
    """

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else dumps(value)

    def value_to_string(self, obj: models.Model) -> str:
        return dumps(self.value_from_object(obj))
