"""Uploads that come in parts."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import resources.fields
import resources.ids


class Migration(migrations.Migration):
    dependencies = [("resources", "0008_connection_health")]

    operations = [
        migrations.CreateModel(
            name="Upload",
            fields=[
                (
                    "id",
                    models.CharField(default=resources.ids.new_id, max_length=26, primary_key=True, serialize=False),
                ),
                ("owner", models.CharField(db_index=True, max_length=150)),
                ("name", models.CharField(blank=True, default="", max_length=200)),
                ("content_type", models.CharField(max_length=100)),
                ("folder", models.CharField(blank=True, default="", max_length=200)),
                ("labels", resources.fields.JSONText(default=dict)),
                ("size", models.PositiveBigIntegerField()),
                ("received", models.PositiveBigIntegerField(default=0)),
                ("expires_at", models.FloatField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="UploadPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.PositiveBigIntegerField()),
                (
                    "blob",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="parts", to="resources.blob"
                    ),
                ),
                (
                    "upload",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="resources.upload",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("upload", "start"), name="upload_part_once")],
            },
        ),
    ]
