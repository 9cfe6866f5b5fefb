"""A decision is never changed. It goes only with its whole run, by retention."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import refuse_changes


class Migration(migrations.Migration):
    dependencies: ClassVar = [("approvals", "0002_initial")]
    operations: ClassVar = [refuse_changes("approvals_decision", "a decision is final", deletes=False, keys=(("id",),))]
