"""Blobs of their own, counted by the rows that name them; resources get retention, labels and links."""

from __future__ import annotations

import time
from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Min

import resources.fields


def name_blobs(apps: Any, schema_editor: Any) -> None:
    """The files that are there stay where they are."""
    artifacts, blobs = apps.get_model("resources", "Artifact"), apps.get_model("resources", "Blob")
    now, batch = time.time(), []
    found = artifacts.objects.order_by().values("sha256").annotate(size=Min("size"))
    for row in found.iterator(chunk_size=1000):
        sha256 = row["sha256"]
        batch.append(blobs(sha256=sha256, size=row["size"], key=f"{sha256[:2]}/{sha256}", created_at=now))
        if len(batch) == 1000:
            blobs.objects.bulk_create(batch)
            batch = []
    blobs.objects.bulk_create(batch)


def keep_those_without_a_run(apps: Any, schema_editor: Any) -> None:
    """Nothing that is there is deleted by the upgrade."""
    apps.get_model("resources", "Artifact").objects.filter(run_id="").update(keep="forever")


UNTIL = models.Q(("keep", "until"), ("keep_until__isnull", False))
ELSE = models.Q(models.Q(("keep", "until"), _negated=True), ("keep_until__isnull", True))
KEEP = [("run", "As long as its run"), ("until", "Until a date"), ("forever", "Until somebody deletes it")]


class Migration(migrations.Migration):
    dependencies = [("resources", "0006_secret_versions")]

    operations = [
        migrations.CreateModel(
            name="Blob",
            fields=[
                ("sha256", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("size", models.PositiveBigIntegerField()),
                ("key", models.CharField(max_length=100, unique=True)),
                ("key_id", models.CharField(blank=True, default="", max_length=32)),
                ("created_at", models.FloatField()),
            ],
        ),
        migrations.RunPython(name_blobs, migrations.RunPython.noop),
        migrations.RenameField("artifact", "sha256", "blob"),
        migrations.AlterField(
            "artifact",
            "blob",
            models.ForeignKey(
                db_column="sha256",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="artifacts",
                to="resources.blob",
            ),
        ),
        migrations.AddField(
            "artifact", "keep", models.CharField(choices=KEEP, db_default="run", default="run", max_length=7)
        ),
        migrations.AddField("artifact", "keep_until", models.FloatField(null=True)),
        migrations.AddField("artifact", "pinned", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("artifact", "labels", resources.fields.JSONText(default=dict)),
        migrations.AddField("artifact", "link_version", models.PositiveIntegerField(db_default=1, default=1)),
        migrations.AddField("artifact", "condemned_at", models.FloatField(null=True)),
        migrations.AddField(
            "artifact", "created_by", models.CharField(blank=True, db_default="", default="", max_length=150)
        ),
        migrations.AddConstraint(
            "artifact", models.CheckConstraint(condition=UNTIL | ELSE, name="resource_until_a_time")
        ),
        migrations.AddIndex(
            "artifact",
            models.Index(
                condition=models.Q(("condemned_at__isnull", True), ("keep_until__isnull", False), ("pinned", False)),
                fields=["keep_until"],
                name="resource_expiring",
            ),
        ),
        migrations.AddIndex(
            "artifact",
            models.Index(
                condition=models.Q(("condemned_at__isnull", False)), fields=["condemned_at"], name="resource_condemned"
            ),
        ),
        migrations.CreateModel(
            name="ResourceUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run_id", models.CharField(db_index=True, max_length=26)),
                (
                    "artifact",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="uses",
                        to="resources.artifact",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("artifact", "run_id"), name="resource_use_once")],
            },
        ),
        migrations.RunPython(keep_those_without_a_run, migrations.RunPython.noop),
    ]
