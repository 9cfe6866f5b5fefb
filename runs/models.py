"""L3 tables. `Run` and `StepRun` are what people look at, `Work` is the queue, `RunEvent` the history.

The hot statements on these tables are hand-written SQL in runs/store.py; column names there and here go together.
Times are float epoch seconds of the database's clock.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadText
from resources.ids import new_id

#: `row` of a field that may be sealed at rest: what names its row
_STEP_ROW = ("run_id", "step", "item")
NO_ITEM = -1  # a step run that is not an item of a fan-out


class RunStatus(models.TextChoices):
    """Who moves a run out of each state is said behind it."""

    QUEUED = "queued"  # a free place of its concurrency key
    RUNNING = "running"  # workers
    WAITING = "waiting"  # a signal or a timer
    PAUSING = "pausing"  # the last attempt in flight
    PAUSED = "paused"  # an operator
    CANCELLING = "cancelling"  # the last attempt in flight
    COMPENSATING = "compensating"  # workers
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


ENDED = (
    RunStatus.SUCCEEDED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.TIMED_OUT,
)


class Run(models.Model):
    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    flow = models.ForeignKey("flows.Flow", models.PROTECT, related_name="runs", db_index=False)
    release = models.ForeignKey("flows.Release", models.PROTECT, related_name="runs", db_index=False)
    status = models.CharField(max_length=12, choices=RunStatus.choices)
    version = models.BigIntegerField(default=0)  # raised by every change; the compare-and-set of the engine
    seq = models.BigIntegerField(default=0)  # last event's number within the run
    input = JSONText(default=dict, row=("id",))
    # {kind, name, …}: what the expression name `trigger` shows
    trigger = JSONText(default=dict, row=("id",), tag="kind")
    starter = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    output = JSONText(null=True, row=("id",))
    error = JSONText(null=True, row=("id",))  # {class, message, step, details}
    control = JSONText(default=dict, row=("id",))  # pause and cancel requests as the pure core keeps them
    limit_key = models.CharField(max_length=64, blank=True, default="")  # digest of the concurrency key
    degraded = models.BooleanField(default=False, db_default=False)  # a fallback stood in for a step
    error_class = models.CharField(max_length=64, blank=True, default="", db_default="")  # the error's, for filters
    dead_at = models.FloatField(null=True)  # when it gave up; NULL: it did not, goes on again, or was dismissed
    placed = models.BooleanField(default=False)  # holds a place of its key, or needs none; else it waits for one
    priority = models.SmallIntegerField(
        default=0, db_default=0
    )  # -10 … 10, higher is sooner: the start's or the flow's
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="children", db_index=False)
    parent_step = models.CharField(max_length=64, blank=True, default="", db_default="")
    parent_item = models.IntegerField(default=NO_ITEM, db_default=NO_ITEM)
    depth = models.PositiveSmallIntegerField(default=0, db_default=0)  # how many runs are above it
    created_at = models.FloatField()
    started_at = models.FloatField(null=True)
    ended_at = models.FloatField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["flow", "-created_at"], name="run_by_flow"),  # a flow's page
            models.Index(fields=["status", "-created_at"], name="run_by_status"),  # the runs page's chips
            # the runs page: what is counted and drawn of a range is read from the index alone
            models.Index(fields=["-created_at", "status", "degraded", "flow"], name="run_recent"),
            models.Index(  # admission: the oldest queued run of a key
                fields=["limit_key", "created_at"],
                condition=Q(status="queued"),
                name="run_queued_by_key",
            ),
            # max_queued: how many runs of a flow have not begun; and what a resumed flow admits
            models.Index(fields=["flow", "created_at"], condition=Q(status="queued"), name="run_queued_by_flow"),
            # who holds a key, what a new release waits for or replaces: WHERE flow = … AND ended_at IS NULL
            models.Index(fields=["flow", "release"], condition=Q(ended_at__isnull=True), name="run_unended_by_flow"),
            # the children of a run
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="run_by_parent"),
            # dead letters, the newest first; those that the keeper has not counted yet
            models.Index(fields=["-dead_at"], condition=Q(dead_at__isnull=False), name="run_dead"),
            # dead letters of one error class; how many there are of each
            models.Index(fields=["error_class", "-dead_at"], condition=Q(dead_at__isnull=False), name="run_dead_class"),
            models.Index(  # the runs page's chip of runs that a fallback helped
                fields=["-created_at"], condition=Q(degraded=True), name="run_degraded"
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class StepStatus(models.TextChoices):
    """A step that was not reached yet has no row: it is pending."""

    PENDING = "pending"  # its needs (only a step that was put back; others have no row)
    READY = "ready"  # a worker that claims it
    RUNNING = "running"  # its worker, or the end of its lease
    FANNED = "fanned"  # its items
    BACKOFF = "backoff"  # its wake_at
    WAITING = "waiting"  # a signal or a timer
    HANDLING = "handling"  # the steps that see to its missed time
    UNKNOWN = "unknown"  # a person who says what happened
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class StepRun(models.Model):
    run = models.ForeignKey(Run, models.CASCADE, related_name="step_runs", db_index=False)
    step = models.CharField(max_length=64)
    item = models.IntegerField(default=NO_ITEM)
    status = models.CharField(max_length=12, choices=StepStatus.choices)
    version = models.BigIntegerField()  # the run's version at its last change: reload only what moved
    pass_no = models.IntegerField(default=1)
    attempt = models.IntegerField(default=0)  # attempts ever started; the fence of the running one
    # the rest of what the pure core keeps: tries, lost, wait, error, digest …
    state = JSONText(default=dict, row=_STEP_ROW)
    output = JSONText(null=True, row=_STEP_ROW)
    # of the running attempt: {attempt, progress, tail, log, checkpoint}; see runs/live.py
    live = JSONText(null=True, row=_STEP_ROW)
    started_at = models.FloatField(null=True)
    ended_at = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step", "item"], name="step_run_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step}"


class LastGood(models.Model):
    """The newest good output of a step that falls back on it, in any run of its flow. See runs/lastgood.py."""

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="+", db_index=False)
    step = models.CharField(max_length=64)
    mark = models.CharField(max_length=64, blank=True)  # digest of the item's key; "" for a step that is no item
    run_id = models.CharField(max_length=26)  # where it comes from; that run may be gone
    at = models.FloatField()
    output = JSONText(null=True, row=("flow_id", "step", "mark"))

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["flow", "step", "mark"], name="last_good_once"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id}:{self.step}"


class Work(models.Model):
    """The queue: one narrow row per step run that can make progress, per timer, per admission.

    `wake_at`: when somebody should look. While leased (`owner` set) it is the lease's end and nothing else.
    NULL: held (paused); `held_at` keeps what it was.
    """

    class Kind(models.TextChoices):
        STEP = "step"  # execute an attempt
        TIMER = "timer"  # tell the core that a time has come
        ADMIT = "admit"  # a place of a concurrency key is free
        CLOSE = "close"  # the run that called this one no longer waits for it

    kind = models.CharField(max_length=5, choices=Kind.choices)
    run = models.ForeignKey(Run, models.CASCADE, related_name="+", db_index=False)
    step = models.CharField(max_length=64, blank=True, default="")
    item = models.IntegerField(default=NO_ITEM)
    name = models.CharField(max_length=24, blank=True, default="")  # of a timer: wait | deadline | sla | …
    queue = models.CharField(max_length=32, default="default")
    rank = models.FloatField(null=True)  # ready now: the lowest goes first; NULL: waits for its time, leased or held
    priority = models.SmallIntegerField(default=0, db_default=0)
    held_by = models.CharField(
        max_length=120, blank=True, default="", db_default=""
    )  # what limit holds it back, for people
    quick = models.BooleanField(default=False, db_default=False)  # may be claimed together with others: pure
    long = models.BooleanField(default=False)  # its attempt may take longer than LONG_SECONDS
    wake_at = models.FloatField(null=True)
    held_at = models.FloatField(null=True)
    owner = models.CharField(max_length=64, null=True)  # noqa: DJ001  NULL: not leased; "" would be an owner
    fence = models.IntegerField(default=0)  # raised by every claim; a holder with an older one changes nothing

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step", "item", "kind", "name"], name="work_once"),
        ]
        indexes: ClassVar = [
            # the claim: WHERE queue = … AND rank IS NOT NULL ORDER BY rank
            models.Index(fields=["queue", "rank"], condition=Q(rank__isnull=False), name="work_ready"),
            # the claim: WHERE queue = … AND rank IS NULL AND wake_at <= now ORDER BY wake_at
            models.Index(
                fields=["queue", "wake_at"],
                condition=Q(rank__isnull=True, wake_at__isnull=False),
                name="work_due",
            ),
            # ending the leases of a dead worker: WHERE owner = …
            models.Index(fields=["owner"], condition=Q(owner__isnull=False), name="work_leased"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}:{self.step}"


class RunEvent(models.Model):
    """Append-only history, written in the transaction that made it true.

    Inputs of the pure core (`cause` true) fold to the run's state; the others say what followed from them.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="events", db_index=False)
    seq = models.BigIntegerField()
    type = models.CharField(max_length=32)
    schema = models.PositiveSmallIntegerField(default=1)
    cause = models.BooleanField(default=False)
    step = models.CharField(max_length=64, blank=True, default="")
    item = models.IntegerField(default=NO_ITEM)
    at = models.FloatField()
    actor = models.CharField(max_length=150, blank=True, default="")
    data = JSONText(default=dict, row=("run_id", "seq"))

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "seq"], name="run_event_seq")]

    def __str__(self) -> str:
        return f"{self.run_id}#{self.seq} {self.type}"


class WaitToken(models.Model):
    """One token per wait. Opening and delivering lock this row first, so no wake-up is lost.

    The row may exist before its wait opens (a callback URL is known before the step that calls back starts).
    """

    class Status(models.TextChoices):
        EARLY = "early"  # known or already answered, its wait is not open yet
        OPEN = "open"
        ANSWERED = "answered"
        CLOSED = "closed"  # expired, withdrawn, or the run ended

    token = models.CharField(primary_key=True, max_length=64)
    run = models.ForeignKey(  # outlives its run by 30 days: whoever calls back late is told so
        Run, models.DO_NOTHING, related_name="waits", db_index=False, db_constraint=False
    )
    step = models.CharField(max_length=64)
    item = models.IntegerField(default=NO_ITEM)
    pass_no = models.IntegerField(default=1)
    kind = models.CharField(max_length=16)
    status = models.CharField(max_length=8, choices=Status.choices)
    answer = JSONText(null=True, row=("token",))  # the first signal's payload
    response = JSONText(null=True, row=("token",))  # what the first caller was told; a duplicate is told the same
    expires_at = models.FloatField(null=True)  # an answer after it is late even where the timer has not fired yet
    answered_at = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step", "item", "pass_no"], name="wait_once_per_pass"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}:{self.step}"


class StartKey(models.Model):
    """Makes a start happen once per key. Outlives the run by 30 days, so `run_id` is no foreign key."""

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="+", db_index=False)
    source = models.CharField(max_length=80)  # "api", or "hook:<trigger>"
    key = models.CharField(max_length=200)
    run_id = models.CharField(max_length=26)
    fingerprint = models.CharField(max_length=64, blank=True, default="")  # SHA-256 of the input it came with
    created_at = models.FloatField(db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow", "source", "key"], name="start_key_once")]

    def __str__(self) -> str:
        return f"{self.source}:{self.key}"


class LimitKey(models.Model):
    """The counter of one concurrency key; starts and ends of its runs lock this row."""

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of flow and key
    label = PayloadText(max_length=200, blank=True, default="", row=("digest",))  # the key as people know it
    active = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.label)


class FlowGate(models.Model):
    """What keeps new runs of a flow from beginning. No row: nothing ever did. Starts read it, changes lock it."""

    class Mode(models.TextChoices):
        OPEN = ""
        QUEUE = "queue"  # starts are kept, and admitted when the flow is resumed
        REFUSE = "refuse"  # starts are refused with the reason

    flow = models.OneToOneField("flows.Flow", models.CASCADE, primary_key=True, related_name="gate")
    mode = models.CharField(max_length=6, choices=Mode.choices, blank=True, default="")
    reason = models.CharField(max_length=1000, blank=True, default="")
    actor = models.CharField(max_length=150, blank=True, default="")
    at = models.FloatField(null=True)
    draining = models.BigIntegerField(null=True)  # release whose runs wait until those of older ones have ended
    superseding = models.BigIntegerField(null=True)  # release whose coming cancels the runs of older ones
    released_at = models.FloatField(null=True)
    quarantined = models.PositiveIntegerField(default=0, db_default=0)  # inputs; at 0 a start looks no further

    class Meta:
        indexes: ClassVar = [
            # the keeper: WHERE draining IS NOT NULL OR superseding IS NOT NULL
            models.Index(
                fields=["released_at"],
                condition=Q(draining__isnull=False) | Q(superseding__isnull=False),
                name="gate_releases",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id} {self.mode or 'open'}"


class WorkCluster(models.Model):
    """A cluster of workers as its watcher last saw it; only for people and autoscalers, nothing relies on it."""

    name = models.CharField(primary_key=True, max_length=80)  # host and process id
    host = models.CharField(max_length=64)
    queues = models.CharField(max_length=400)
    workers = models.PositiveSmallIntegerField(default=0)
    idle = models.PositiveSmallIntegerField(default=0)
    seen_at = models.FloatField(db_index=True)

    def __str__(self) -> str:
        return self.name

    @property
    def queue_names(self) -> list[str]:
        return self.queues.split(",")


# the tables of dead letters and of outbound events belong to this app; down here, since nothing above needs them
from runs.dead.models import InputFailure, Quarantine, ReplayBatch, ReplayItem  # noqa: E402
from runs.incoming.models import HookDelivery  # noqa: E402
from runs.jobs.models import Job, JobLog, Runner, RunnerToken  # noqa: E402
from runs.named.models import EventListener, EventName, EventUse, EventWait, NamedEvent  # noqa: E402
from runs.outbound.models import Delivery, GoneRun, Subscription  # noqa: E402
from runs.schedules.models import Schedule, ScheduledTime  # noqa: E402
from runs.search.models import SearchEntry, SearchState  # noqa: E402

__all__ = [
    "ENDED",
    "NO_ITEM",
    "Delivery",
    "EventListener",
    "EventName",
    "EventUse",
    "EventWait",
    "FlowGate",
    "GoneRun",
    "HookDelivery",
    "InputFailure",
    "Job",
    "JobLog",
    "LimitKey",
    "NamedEvent",
    "Quarantine",
    "ReplayBatch",
    "ReplayItem",
    "Run",
    "RunEvent",
    "RunStatus",
    "Runner",
    "RunnerToken",
    "Schedule",
    "ScheduledTime",
    "SearchEntry",
    "SearchState",
    "StartKey",
    "StepRun",
    "StepStatus",
    "Subscription",
    "WaitToken",
    "Work",
    "WorkCluster",
]


class Usage(models.Model):
    """What one question to a language model used, whatever became of the attempt that asked it."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="usage")
    step = models.CharField(max_length=64)
    item = models.IntegerField(default=NO_ITEM)
    attempt = models.IntegerField()
    model = models.CharField(max_length=200)
    input_tokens = models.IntegerField()
    output_tokens = models.IntegerField()
    cost = models.FloatField()  # US dollars
    at = models.FloatField()

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step} {self.model}"
