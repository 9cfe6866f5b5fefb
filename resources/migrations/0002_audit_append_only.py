"""The audit log only grows."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import refuse_changes


class Migration(migrations.Migration):
    dependencies: ClassVar = [("resources", "0001_initial")]
    operations: ClassVar = [refuse_changes("resources_auditentry", "the audit log is append-only", keys=(("id",), ("seq",)))]
