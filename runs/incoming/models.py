"""The last deliveries to each webhook, for people who ask why nothing started. No bodies, no headers."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from resources.fields import PayloadText


class HookDelivery(models.Model):
    """Written after the answer, in batches (see deliveries.py); times are float epoch seconds."""

    class Status(models.TextChoices):
        STARTED = "started"
        DUPLICATE = "duplicate"
        SKIPPED = "skipped"
        IGNORED = "ignored"
        ANSWERED = "answered"  # a challenge
        REFUSED = "refused"

    flow = models.ForeignKey("flows.Flow", models.CASCADE, related_name="hook_deliveries", db_index=False)
    trigger = models.CharField(max_length=63)
    at = models.FloatField(db_index=True)
    status = models.CharField(max_length=10, choices=Status.choices)
    refused = models.BooleanField()  # kept apart, so that refused calls do not push out the others
    http = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=64, blank=True, default="")
    reason = PayloadText(max_length=300, blank=True, default="", row=("flow_id", "trigger", "run_id"))
    run_id = models.CharField(max_length=26, blank=True, default="")  # no key: the run may be gone before this
    address = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        indexes: ClassVar = [
            # the last of a hook: WHERE flow_id = … AND trigger = … ORDER BY id DESC LIMIT …
            models.Index(fields=["flow", "trigger", "-id"], name="hook_delivery_last"),
        ]

    def __str__(self) -> str:
        return f"{self.trigger} {self.status}"
