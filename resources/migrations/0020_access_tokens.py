"""Tokens that other sides gave connections are known, sealed, as long as they are good."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import resources.ids


class Migration(migrations.Migration):
    dependencies: ClassVar = [("resources", "0019_audit_may_be_sealed")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="AccessToken",
            fields=[
                (
                    "id",
                    models.CharField(default=resources.ids.new_id, max_length=26, primary_key=True, serialize=False),
                ),
                ("value", models.BinaryField()),
                ("key_id", models.CharField(max_length=64)),
                ("until", models.FloatField()),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="resources.connection"
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["connection", "until"], name="access_token_in_use")]},
        )
    ]
