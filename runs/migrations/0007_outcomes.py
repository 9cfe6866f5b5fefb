import django.db.models.deletion
from django.db import migrations, models

import resources.fields


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0002_releases_never_change"),
        ("runs", "0006_outbound_events"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="degraded",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(condition=models.Q(("degraded", True)), fields=["-created_at"], name="run_degraded"),
        ),
        migrations.CreateModel(
            name="LastGood",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.CharField(max_length=64)),
                ("mark", models.CharField(blank=True, max_length=64)),
                ("run_id", models.CharField(max_length=26)),
                ("at", models.FloatField()),
                ("output", resources.fields.JSONText(null=True)),
                (
                    "flow",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="flows.flow"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("flow", "step", "mark"), name="last_good_once"),
                ],
            },
        ),
    ]
