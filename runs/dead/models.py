"""Tables of dead letters: batches that replay them, inputs in quarantine, failures counted by input.

The dead letters themselves are runs: those whose `dead_at` is set.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadText


class ReplayBatch(models.Model):
    """Dead letters that are replayed one after the other. Keepers work it off under this row's lock."""

    class Mode(models.TextChoices):
        RETRY = "retry", "Retried in place"
        REPLAY = "replay", "Replayed as new runs"

    class Status(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        ABORTED = "aborted"

    mode = models.CharField(max_length=6, choices=Mode.choices)
    filter = JSONText(default=dict)  # what was asked for, as runs.dead.letters.Filter.to_json gives it
    reason = models.CharField(max_length=500)
    rate = models.PositiveIntegerField()  # runs a minute; 0: as fast as it goes
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.RUNNING)
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    # whoever asked: each run is replayed with what they may do at that moment
    actor = models.CharField(max_length=150)
    actor_kind = models.CharField(max_length=8)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_index=False)
    scopes = JSONText(default=list)
    created_at = models.FloatField()
    next_at = models.FloatField(null=True)  # when its next run is due; NULL: it has ended
    ended_at = models.FloatField(null=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")  # who aborted it

    class Meta:
        indexes: ClassVar = [
            # the keeper: WHERE next_at <= now
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="replay_due"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="running", next_at__isnull=False) | (~Q(status="running") & Q(next_at__isnull=True)),
                name="replay_due_while_running",
            ),
        ]

    def __str__(self) -> str:
        return f"replay {self.pk} {self.status}"


class ReplayItem(models.Model):
    """One dead letter of a batch. It changes once, in the transaction that replays its run."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        FAILED = "failed"  # it was refused; `code` and `message` say why

    batch = models.ForeignKey(ReplayBatch, models.CASCADE, related_name="items", db_index=False)
    run = models.ForeignKey("runs.Run", models.CASCADE, related_name="+")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PENDING)
    new_run = models.CharField(max_length=26, blank=True, default="")
    code = models.CharField(max_length=64, blank=True, default="")
    message = PayloadText(max_length=500, blank=True, default="", row=("batch_id", "run_id"))
    at = models.FloatField(null=True)

    class Meta:
        indexes: ClassVar = [
            # the keeper: the next one of a batch
            models.Index(fields=["batch", "id"], condition=Q(status="pending"), name="replay_pending"),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["batch", "run"], name="replay_run_once")]

    def __str__(self) -> str:
        return f"{self.batch_id}:{self.run_id}"


#: what names the row of an input in quarantine
_INPUT = ("flow_id", "digest", "run_id")


class Quarantine(models.Model):
    """An input that a flow refuses at start. Kept when it is released, for who looks back."""

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="quarantine", db_index=False)
    digest = models.CharField(max_length=64)  # SHA-256 of the canonical input
    reason = PayloadText(max_length=1000, row=_INPUT)  # may quote an error
    actor = models.CharField(max_length=150)
    run_id = models.CharField(max_length=26)  # a run that had this input; it may be gone
    # the release that failed: when another one goes live, the input is let go. NULL: only people do that
    release = models.ForeignKey("flows.Release", models.CASCADE, null=True, related_name="+", db_index=False)
    at = models.FloatField()
    released_at = models.FloatField(null=True)
    released_by = models.CharField(max_length=150, blank=True, default="")
    release_reason = PayloadText(max_length=1000, blank=True, default="", row=_INPUT)

    class Meta:
        constraints: ClassVar = [
            # also the lookup of a start: WHERE flow = … AND digest = … AND released_at IS NULL
            models.UniqueConstraint(
                fields=["flow", "digest"], condition=Q(released_at__isnull=True), name="quarantine_once"
            ),
        ]
        indexes: ClassVar = [
            # since when failures of an input count: its last release
            models.Index(fields=["flow", "digest", "released_at"], name="quarantine_by_input"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id}:{self.digest[:12]}"


class InputFailure(models.Model):
    """A run that gave up, by its input: what the keeper counts. Forgotten after a day."""

    run = models.ForeignKey("runs.Run", models.CASCADE, related_name="+", db_index=False)
    ended_at = models.FloatField(db_index=True)
    flow_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    error_class = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "ended_at"], name="input_failure_once")]
        indexes: ClassVar = [
            # how often an input failed: WHERE flow_id = … AND digest = … AND ended_at > …
            models.Index(fields=["flow_id", "digest", "ended_at"], name="input_failure_by_input"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.error_class}"
