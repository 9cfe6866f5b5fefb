"""The runs page counts and draws a range from one index, without looking at the runs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0021_marks_of_events"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="run",
            name="run_recent",
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["-created_at", "status", "degraded", "flow"], name="run_recent"),
        ),
    ]
