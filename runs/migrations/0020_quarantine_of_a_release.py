"""What went into quarantine by itself belongs to the release that failed, what is there already included."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

_BELONGS = """
UPDATE runs_quarantine SET release_id = (SELECT release_id FROM runs_run WHERE runs_run.id = runs_quarantine.run_id)
 WHERE actor = 'keeper' AND released_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("flows", "0005_bindings"), ("runs", "0019_history_may_be_sealed")]
    operations: ClassVar = [
        migrations.AddField(
            "quarantine",
            "release",
            models.ForeignKey(
                db_index=False, null=True, on_delete=models.CASCADE, related_name="+", to="flows.release"
            ),
        ),
        migrations.RunSQL(_BELONGS, migrations.RunSQL.noop),
    ]
