"""The search index: entries, and their words as each database keeps them."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def make_words(apps: Any, editor: Any) -> None:
    if editor.connection.vendor == "postgresql":
        editor.execute("ALTER TABLE runs_searchentry ADD COLUMN vector tsvector")
        # WHERE vector @@ …; without a list of pending entries, which a question would have to read
        editor.execute("CREATE INDEX search_entry_words ON runs_searchentry USING gin (vector) WITH (fastupdate = off)")
        return
    editor.execute(
        "CREATE VIRTUAL TABLE runs_searchwords USING fts5(title, body, tokenize = 'unicode61 remove_diacritics 0')"
    )


def drop_words(apps: Any, editor: Any) -> None:
    if editor.connection.vendor != "postgresql":
        editor.execute("DROP TABLE runs_searchwords")


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0014_model_usage"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("run", "Run"),
                            ("flow", "Flow"),
                            ("resource", "Resource"),
                            ("connection", "Connection"),
                        ],
                        max_length=10,
                    ),
                ),
                ("object_id", models.CharField(max_length=64)),
                ("flow", models.CharField(blank=True, default="", max_length=63)),
                ("folder", models.CharField(blank=True, default="", max_length=200)),
                ("status", models.CharField(blank=True, default="", max_length=12)),
                ("labels", models.TextField(blank=True, default="")),
                ("at", models.FloatField()),
                ("title", models.CharField(max_length=200)),
                ("body", models.TextField(blank=True, default="")),
                ("mark", models.CharField(blank=True, default="", max_length=64)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("kind", "object_id"), name="search_entry_once")],
            },
        ),
        migrations.CreateModel(
            name="SearchState",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("events", models.BigIntegerField(default=0)),
                ("audit", models.BigIntegerField(default=0)),
                ("resources", models.CharField(blank=True, default="", max_length=26)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="search_state_is_one_row")],
            },
        ),
        migrations.RunPython(make_words, drop_words),
    ]
