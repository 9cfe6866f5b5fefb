"""What the audit log says may be sealed at rest, and sealed anew under another key; the chain is over what it says."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import allow_sealing


class Migration(migrations.Migration):
    dependencies: ClassVar = [("resources", "0018_payload_texts")]
    operations: ClassVar = [
        allow_sealing(
            "resources_auditentry",
            "the audit log is append-only",
            sealed=("data",),
            kept=(
                "id", "seq", "at", "actor", "actor_kind", "address", "action", "object_type", "object_id",
                "previous_hash", "hash",
            ),
        )  # fmt: skip
    ]
