"""Tables of outbound events. What happened is in the history; these say who wants it and how far each got."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadText


class Subscription(models.Model):
    """Where events go. `cursor`: id of the last entry of the history that was looked at for it, kept for ever."""

    name = models.CharField(max_length=63, unique=True)
    url = models.CharField(max_length=500, blank=True, default="")  # either this: public addresses only
    connection = models.CharField(max_length=64, blank=True, default="")  # or an http connection and a path below it
    path = models.CharField(max_length=500, blank=True, default="")
    types = JSONText(default=list)  # patterns: run.failed, run.*, *
    folders = JSONText(default=list)  # [] every folder its owner may view; each with all below it
    flows = JSONText(default=list)  # [] every flow
    include_output = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=300, blank=True, default="")  # why it is paused
    owner = models.ForeignKey(  # it sees what this person may view at the moment of delivery
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False
    )
    key = models.BinaryField()  # the signing secret, sealed; shown once, when it is made
    key_last4 = models.CharField(max_length=4, blank=True, default="")
    old_key = models.BinaryField(null=True)  # signs too until old_until
    old_until = models.FloatField(null=True)
    cursor = models.BigIntegerField()
    since = models.FloatField()  # entries before this moment are not sent
    created_at = models.FloatField()
    updated_at = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(url="") ^ Q(connection=""),
                name="subscription_url_or_connection",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One event for one subscription. `owner` set: a keeper is sending it, and `wake_at` is the lease's end."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        DEAD = "dead"  # given up; a person can replay it

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey("runs.RunEvent", models.CASCADE, null=True, related_name="+")  # NULL: a test
    type = models.CharField(max_length=32)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.IntegerField(default=0)  # since it was made or replayed last
    since = models.FloatField()  # when the first of these attempts was due
    wake_at = models.FloatField(null=True)  # NULL: nothing is due any more
    owner = models.CharField(max_length=64, blank=True, default="")
    fence = models.IntegerField(default=0)  # raised by every claim; a holder with an older one changes nothing
    last_status = models.IntegerField(null=True)  # HTTP status of the last answer
    last_error = PayloadText(max_length=500, blank=True, default="", row=("subscription_id", "event_id"))
    # the last attempts: [{at, status, error, seconds}]
    tries = JSONText(default=list, row=("subscription_id", "event_id"))
    # beginning of the last answer's body, secrets masked
    excerpt = PayloadText(blank=True, default="", row=("subscription_id", "event_id"))
    created_at = models.FloatField()
    ended_at = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subscription", "event"], name="delivery_once"),
        ]
        indexes: ClassVar = [
            # the claim: WHERE subscription = … AND wake_at <= now ORDER BY wake_at
            models.Index(fields=["subscription", "wake_at"], condition=Q(wake_at__isnull=False), name="delivery_due"),
            # the dead letters of a subscription
            models.Index(fields=["subscription", "-id"], condition=Q(status="dead"), name="delivery_dead"),
            # a subscription's page: WHERE subscription = … ORDER BY id DESC
            models.Index(fields=["subscription", "-id"], name="delivery_recent"),
            # housekeeping: WHERE status = 'delivered' AND ended_at < …
            models.Index(fields=["ended_at"], condition=Q(status="delivered"), name="delivery_done"),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.subscription_id}"


class GoneRun(models.Model):
    """A run that retention deleted: for 30 days its start key, its tokens and its idempotency keys still count."""

    run_id = models.CharField(primary_key=True, max_length=26)
    gone_at = models.FloatField(db_index=True)

    def __str__(self) -> str:
        return self.run_id
