"""What history says may be sealed at rest, and sealed anew under another key; it is still never rewritten."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import allow_sealing


class Migration(migrations.Migration):
    dependencies: ClassVar = [("runs", "0018_payload_texts")]
    operations: ClassVar = [
        allow_sealing(
            "runs_runevent",
            "run history is append-only",
            sealed=("data",),
            kept=("id", "run_id", "seq", "type", "schema", "cause", "step", "item", "at", "actor"),
        )
    ]
