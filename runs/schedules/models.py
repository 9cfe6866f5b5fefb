"""One row a schedule trigger of a live release, and one a due time of it. Times are float epoch seconds."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q


class Schedule(models.Model):
    """What the live release says of a schedule, and where it stands. Its row's lock comes before all others.

    `due_at` is the next time by cron, `wake_at` the same with its jitter: when to start it.
    """

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="schedules", db_index=False)
    name = models.CharField(max_length=63)
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=64)
    overlap = models.CharField(max_length=16)
    catchup = models.FloatField()
    jitter = models.FloatField()
    pause_on_failure = models.PositiveIntegerField(default=0)  # failures in a row that pause it; 0: none do
    purpose = models.CharField(max_length=300, blank=True, default="")  # the author's note
    due_at = models.FloatField(null=True)
    wake_at = models.FloatField(null=True)
    retired_at = models.FloatField(null=True)  # no longer in the live release; kept for its past
    paused_at = models.FloatField(null=True)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    paused_note = models.CharField(max_length=500, blank=True, default="")
    failures = models.PositiveIntegerField(default=0)  # runs that failed since one succeeded
    waiting = models.PositiveIntegerField(default=0)  # its times that wait for their turn
    problem = models.CharField(max_length=500, blank=True, default="")  # why it cannot be worked on at all

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["flow", "name"], name="schedule_once"),
            models.CheckConstraint(
                condition=Q(wake_at__isnull=True) | Q(paused_at__isnull=True, retired_at__isnull=True),
                name="schedule_at_rest_never_wakes",
            ),
        ]
        indexes: ClassVar = [
            # what is due: WHERE wake_at IS NOT NULL ORDER BY wake_at
            models.Index(fields=["wake_at"], condition=Q(wake_at__isnull=False), name="schedule_due"),
            # whose times wait for the end of a run: WHERE waiting > 0
            models.Index(fields=["id"], condition=Q(waiting__gt=0), name="schedule_waits"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id}/{self.name}"

    @property
    def active(self) -> bool:
        return self.paused_at is None and self.retired_at is None


class ScheduledTime(models.Model):
    """A due time and what came of it. `key` is the idempotency key of its start, so that it starts once."""

    class Cause(models.TextChoices):
        DUE = "due"
        BACKFILL = "backfill"
        MANUAL = "manual"

    class State(models.TextChoices):
        WAITING = "waiting"  # for an earlier run to end
        STARTED = "started"  # `run_id`
        SKIPPED = "skipped"  # by the overlap policy, or given up while it waited
        MISSED = "missed"  # nothing ran then, and it is longer ago than the catch-up window
        REFUSED = "refused"  # the start was refused: `detail` says why

    schedule = models.ForeignKey(Schedule, models.CASCADE, related_name="times", db_index=False)
    key = models.CharField(max_length=100)
    due_at = models.FloatField()
    cause = models.CharField(max_length=8, choices=Cause.choices)
    state = models.CharField(max_length=8, choices=State.choices)
    run_id = models.CharField(max_length=26, blank=True, default="")  # no foreign key: retention deletes runs
    open = models.BooleanField(default=False)  # its run is not known to have ended
    detail = models.CharField(max_length=500, blank=True, default="")
    at = models.FloatField()  # when this was decided
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["schedule", "key"], name="scheduled_time_once"),
            models.CheckConstraint(
                condition=Q(open=False) | (Q(state="started") & ~Q(run_id="")), name="scheduled_time_open_has_run"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["schedule", "-due_at"], name="scheduled_time_recent"),  # a schedule's page
            # whose turn it is: WHERE schedule = … AND state = 'waiting' ORDER BY due_at
            models.Index(fields=["schedule", "due_at"], condition=Q(state="waiting"), name="scheduled_time_waiting"),
            # what still runs: WHERE schedule = … AND open
            models.Index(fields=["schedule"], condition=Q(open=True), name="scheduled_time_open"),
            models.Index(fields=["at"], name="scheduled_time_old"),  # pruning
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.key}"
