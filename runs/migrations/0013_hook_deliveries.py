import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0002_releases_never_change"),
        ("runs", "0012_named_events"),
    ]

    operations = [
        migrations.CreateModel(
            name="HookDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("trigger", models.CharField(max_length=63)),
                ("at", models.FloatField(db_index=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("duplicate", "Duplicate"),
                            ("skipped", "Skipped"),
                            ("ignored", "Ignored"),
                            ("answered", "Answered"),
                            ("refused", "Refused"),
                        ],
                        max_length=10,
                    ),
                ),
                ("refused", models.BooleanField()),
                ("http", models.PositiveSmallIntegerField()),
                ("code", models.CharField(blank=True, default="", max_length=64)),
                ("reason", models.CharField(blank=True, default="", max_length=300)),
                ("run_id", models.CharField(blank=True, default="", max_length=26)),
                ("address", models.CharField(blank=True, default="", max_length=64)),
                (
                    "flow",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="hook_deliveries",
                        to="flows.flow",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["flow", "trigger", "-id"], name="hook_delivery_last")],
            },
        ),
    ]
