"""Tables of named events. The row of a name is locked by whoever opens a wait for it and by whoever delivers to it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from resources.fields import JSONText

NO_ITEM = -1


class EventName(models.Model):
    """One name, in all folders. It outlives its events: it is the lock of rule 7 of the design."""

    name = models.CharField(max_length=100, unique=True)
    keep = models.FloatField(default=0.0)  # seconds that some live flow wants its events kept, where that is longer
    # schemas of its body that mark something `x-sensitive`, of flows that wait for it or are started by it
    marks = JSONText(null=True)

    def __str__(self) -> str:
        return self.name


class NamedEvent(models.Model):
    """An event as it came, kept a while for waits that open later."""

    name = models.ForeignKey(EventName, models.CASCADE, related_name="events", db_index=False)
    folder = models.CharField(max_length=200, blank=True)  # for the flows in it and below it
    key = models.CharField(max_length=200)  # the sender's id: the same one is taken once
    body = JSONText(null=True, row=("name_id", "folder", "key"))
    sender = models.CharField(max_length=150, blank=True)
    received_at = models.FloatField(db_index=True)  # the keeper's: WHERE received_at < …

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["name", "folder", "key"], name="named_event_once")]
        indexes: ClassVar = [
            # a wait that opens: WHERE name = … AND received_at >= … ORDER BY received_at
            models.Index(fields=["name", "received_at"], name="named_event_recent"),
        ]

    def __str__(self) -> str:
        return self.key


class EventUse(models.Model):
    """A run used an event: never twice, whichever of its steps waits. No foreign keys: both may go before it."""

    event_id = models.BigIntegerField()
    run_id = models.CharField(max_length=26)
    refused_by = models.CharField(max_length=80, blank=True)  # the step run whose schema the body breaks; "": used

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event_id", "run_id", "refused_by"], name="event_once_per_run"),
        ]

    def __str__(self) -> str:
        return self.run_id


class EventWait(models.Model):
    """An open wait for a name. Written and deleted with the wait, the name's row locked where it is written."""

    name = models.ForeignKey(EventName, models.CASCADE, related_name="waits", db_index=False)
    run = models.ForeignKey("runs.Run", models.CASCADE, related_name="+", db_index=False)
    step = models.CharField(max_length=64)
    item = models.IntegerField(default=NO_ITEM)
    option = models.CharField(max_length=32, blank=True)  # of several alternatives, which
    since = models.FloatField()  # events that came earlier are too old for it

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step", "item", "option"], name="event_wait_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["name"], name="event_wait_by_name")]  # whom an event may concern

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step}"


class EventListener(models.Model):
    """A trigger of a live release that an event of this name starts."""

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="+", db_index=False)
    event = models.CharField(max_length=100, db_index=True)  # whom an event starts

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow", "event"], name="event_listener_once")]

    def __str__(self) -> str:
        return f"{self.flow_id}:{self.event}"
