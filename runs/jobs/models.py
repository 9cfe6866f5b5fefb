"""Tables of jobs and of those who do them. A job belongs to one attempt of one step, and to its wait."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadBytes
from resources.ids import new_id

NO_ITEM = -1


class RunnerToken(models.Model):
    """What a runner proves itself with: good for jobs of a folder, and for nothing else anywhere. Kept as SHA-256."""

    name = models.CharField(max_length=100)
    folder = models.CharField(max_length=200, blank=True)  # jobs of flows in it and below it
    labels = JSONText(default=list)  # its runners may have these; empty: any
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.FloatField()
    expires_at = models.FloatField(null=True)
    revoked_at = models.FloatField(null=True)
    #: what this request came with: its runner must not print it. No column
    plain: str = ""

    def __str__(self) -> str:
        return self.name


class Runner(models.Model):
    """Somebody who asks for jobs: a name under a token. For people; a job's fence is what counts."""

    token = models.ForeignKey(RunnerToken, models.CASCADE, related_name="runners", db_index=False)
    name = models.CharField(max_length=100)
    labels = JSONText(default=list)
    address = models.CharField(max_length=64, blank=True)
    seen_at = models.FloatField(db_index=True)  # asked for a job or spoke of one

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["token", "name"], name="runner_once")]

    def __str__(self) -> str:
        return self.name


class Job(models.Model):
    """The row is locked after its run's. `fence` is raised by every claim: an older holder changes nothing."""

    class State(models.TextChoices):
        QUEUED = "queued"
        CLAIMED = "claimed"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"
        LOST = "lost"

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    token = models.CharField(max_length=64)  # of the wait it answers
    attempt = models.IntegerField()  # of its step
    run = models.ForeignKey("runs.Run", models.CASCADE, related_name="jobs")
    step = models.CharField(max_length=64)
    item = models.IntegerField(default=NO_ITEM)
    folder = models.CharField(max_length=200, blank=True)
    labels = JSONText(default=list)
    label_key = models.CharField(max_length=420)  # its labels, sorted, with spaces between
    priority = models.SmallIntegerField(default=0)
    spec = JSONText(default=dict, row=("id",))  # what the runner is given: input, command, env, files, key, schema
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    runner = models.ForeignKey(Runner, models.SET_NULL, null=True, related_name="jobs")
    fence = models.IntegerField(default=0)
    lease = models.FloatField()  # seconds
    lease_until = models.FloatField(null=True)
    takeovers = models.IntegerField(default=0)
    max_takeovers = models.IntegerField(default=0)
    cancelled_at = models.FloatField(null=True)  # nobody waits for it any more; its runner is told
    result = JSONText(null=True, row=("id",))  # what the core is told
    said = JSONText(null=True, row=("id",))  # what its runner ended it with: a repeat gets the same answer
    progress = JSONText(null=True, row=("id",))
    log_size = models.BigIntegerField(default=0)  # bytes
    log = JSONText(null=True, row=("id",))  # the resource of the whole log
    held = models.BinaryField(default=b"")  # the end of its log that may be the beginning of a secret, sealed
    artifacts = JSONText(default=dict, row=("id",))  # {name: what an output names it by}
    created_at = models.FloatField()
    claimed_at = models.FloatField(null=True)
    ended_at = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["token", "attempt"], name="job_once_per_attempt")]
        indexes: ClassVar = [
            # the claim: WHERE state = 'queued' AND label_key IN … ORDER BY priority DESC, created_at
            models.Index(
                fields=["label_key", "-priority", "created_at"], condition=Q(state="queued"), name="job_queue"
            ),
            # leases that are over: WHERE state = 'claimed' AND lease_until < …
            models.Index(fields=["lease_until"], condition=Q(state="claimed"), name="job_leased"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step}"

    @property
    def ended(self) -> bool:
        return self.state not in (Job.State.QUEUED, Job.State.CLAIMED)


class JobLog(models.Model):
    """A piece of what a job says, until the whole becomes a resource."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="pieces", db_index=False)
    offset = models.BigIntegerField()
    data = PayloadBytes(row=("job_id", "offset"))

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "offset"], name="job_log_once")]

    def __str__(self) -> str:
        return f"{self.job_id}@{self.offset}"
