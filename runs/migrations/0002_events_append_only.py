"""History is never rewritten. Deleting stays possible: retention removes whole ended runs."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import refuse_changes


class Migration(migrations.Migration):
    dependencies: ClassVar = [("runs", "0001_initial")]
    operations: ClassVar = [refuse_changes("runs_runevent", "run history is append-only", deletes=False)]
