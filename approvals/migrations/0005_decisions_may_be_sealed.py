"""What a decision holds may be sealed at rest, and sealed anew under another key; it is still never changed."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import allow_sealing


class Migration(migrations.Migration):
    dependencies: ClassVar = [("approvals", "0004_payload_texts")]
    operations: ClassVar = [
        allow_sealing(
            "approvals_decision",
            "a decision is final",
            sealed=("form", "comment"),
            kept=("id", "request_id", "person_id", "verdict", "digest", "at"),
        )
    ]
