from django.db import migrations, models


class Migration(migrations.Migration):
    """Ready rows are found by their rank, everything else by its time."""

    dependencies = [("runs", "0003_work_ranks")]

    operations = [
        migrations.AddField(
            model_name="work",
            name="quick",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RemoveIndex(model_name="work", name="work_due"),
        migrations.AddIndex(
            model_name="work",
            index=models.Index(
                fields=["queue", "rank"], condition=models.Q(("rank__isnull", False)), name="work_ready"
            ),
        ),
        migrations.AddIndex(
            model_name="work",
            index=models.Index(
                fields=["queue", "wake_at"],
                condition=models.Q(("rank__isnull", True), ("wake_at__isnull", False)),
                name="work_due",
            ),
        ),
    ]
