import django.db.models.deletion
import resources.fields
from django.conf import settings
from django.db import migrations, models


def fill(apps, schema_editor):
    """Runs that gave up before this release are dead letters, too."""
    run = apps.get_model("runs", "Run")._default_manager
    for pk in list(run.filter(error__isnull=False).values_list("pk", flat=True)):
        row = run.only("status", "error", "ended_at").get(pk=pk)
        found = row.error.get("class", "") if isinstance(row.error, dict) else ""
        dead = row.ended_at if row.status in ("failed", "timed_out") else None
        run.filter(pk=pk).update(error_class=str(found)[:64], dead_at=dead)


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0002_releases_never_change"),
        ("runs", "0010_child_flows"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="InputFailure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ended_at", models.FloatField(db_index=True)),
                ("flow_id", models.BigIntegerField()),
                ("digest", models.CharField(max_length=64)),
                ("error_class", models.CharField(blank=True, max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64)),
                ("reason", models.CharField(max_length=1000)),
                ("actor", models.CharField(max_length=150)),
                ("run_id", models.CharField(max_length=26)),
                ("at", models.FloatField()),
                ("released_at", models.FloatField(null=True)),
                ("released_by", models.CharField(blank=True, default="", max_length=150)),
                ("release_reason", models.CharField(blank=True, default="", max_length=1000)),
            ],
        ),
        migrations.CreateModel(
            name="ReplayBatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "mode",
                    models.CharField(
                        choices=[("retry", "Retried in place"), ("replay", "Replayed as new runs")], max_length=6
                    ),
                ),
                ("filter", resources.fields.JSONText(default=dict)),
                ("reason", models.CharField(max_length=500)),
                ("rate", models.PositiveIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[("running", "Running"), ("done", "Done"), ("aborted", "Aborted")],
                        default="running",
                        max_length=7,
                    ),
                ),
                ("total", models.PositiveIntegerField()),
                ("done", models.PositiveIntegerField(default=0)),
                ("failed", models.PositiveIntegerField(default=0)),
                ("actor", models.CharField(max_length=150)),
                ("actor_kind", models.CharField(max_length=8)),
                ("scopes", resources.fields.JSONText(default=list)),
                ("created_at", models.FloatField()),
                ("next_at", models.FloatField(null=True)),
                ("ended_at", models.FloatField(null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=150)),
            ],
        ),
        migrations.CreateModel(
            name="ReplayItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("done", "Done"), ("failed", "Failed")],
                        default="pending",
                        max_length=7,
                    ),
                ),
                ("new_run", models.CharField(blank=True, default="", max_length=26)),
                ("code", models.CharField(blank=True, default="", max_length=64)),
                ("message", models.CharField(blank=True, default="", max_length=500)),
                ("at", models.FloatField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name="flowgate",
            name="quarantined",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="run",
            name="dead_at",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="error_class",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(condition=models.Q(("dead_at__isnull", False)), fields=["-dead_at"], name="run_dead"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("dead_at__isnull", False)),
                fields=["error_class", "-dead_at"],
                name="run_dead_class",
            ),
        ),
        migrations.AddField(
            model_name="inputfailure",
            name="run",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="runs.run"
            ),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="flow",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="quarantine", to="flows.flow"
            ),
        ),
        migrations.AddField(
            model_name="replaybatch",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="replayitem",
            name="batch",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="items", to="runs.replaybatch"
            ),
        ),
        migrations.AddField(
            model_name="replayitem",
            name="run",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="runs.run"),
        ),
        migrations.AddIndex(
            model_name="inputfailure",
            index=models.Index(fields=["flow_id", "digest", "ended_at"], name="input_failure_by_input"),
        ),
        migrations.AddConstraint(
            model_name="inputfailure",
            constraint=models.UniqueConstraint(fields=("run", "ended_at"), name="input_failure_once"),
        ),
        migrations.AddIndex(
            model_name="quarantine",
            index=models.Index(fields=["flow", "digest", "released_at"], name="quarantine_by_input"),
        ),
        migrations.AddConstraint(
            model_name="quarantine",
            constraint=models.UniqueConstraint(
                condition=models.Q(("released_at__isnull", True)), fields=("flow", "digest"), name="quarantine_once"
            ),
        ),
        migrations.AddIndex(
            model_name="replaybatch",
            index=models.Index(condition=models.Q(("next_at__isnull", False)), fields=["next_at"], name="replay_due"),
        ),
        migrations.AddConstraint(
            model_name="replaybatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_at__isnull", False), ("status", "running")),
                    models.Q(models.Q(("status", "running"), _negated=True), ("next_at__isnull", True)),
                    _connector="OR",
                ),
                name="replay_due_while_running",
            ),
        ),
        migrations.AddIndex(
            model_name="replayitem",
            index=models.Index(
                condition=models.Q(("status", "pending")), fields=["batch", "id"], name="replay_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="replayitem",
            constraint=models.UniqueConstraint(fields=("batch", "run"), name="replay_run_once"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]
