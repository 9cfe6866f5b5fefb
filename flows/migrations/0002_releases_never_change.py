"""The database itself refuses to change or delete a release."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from resources.append_only import refuse_changes


class Migration(migrations.Migration):
    dependencies: ClassVar = [("flows", "0001_initial")]
    operations: ClassVar = [refuse_changes("flows_release", "a release never changes", keys=(("id",), ("flow_id", "version")))]
