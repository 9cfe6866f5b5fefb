"""Tables of notices and of deliveries."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadText


class Notice(models.Model):
    """One message to one person, in the product. `key` makes it exactly one, however often it is said."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notices", db_index=False)
    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=16)  # one of resources.notices.kinds.KINDS
    title = PayloadText(max_length=300, row=("user_id", "key"))
    text = PayloadText(blank=True, default="", row=("user_id", "key"))  # Markdown
    url = models.CharField(max_length=300, blank=True, default="")  # a path of the product
    at = models.FloatField()
    read_at = models.FloatField(null=True)
    mail = models.BooleanField(default=False, db_default=False)  # it waits to go out by e-mail, too

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "key"], name="notice_once")]
        indexes: ClassVar = [
            # the list of one person, newest first
            models.Index(fields=["user", "-at"], name="notice_list"),
            # how many are unread
            models.Index(fields=["user"], condition=Q(read_at=None), name="notice_unread"),
            # what is old enough to be forgotten
            models.Index(fields=["at"], name="notice_age"),
            # what waits for its e-mail
            models.Index(fields=["id"], condition=Q(mail=True), name="notice_mail"),
        ]

    def __str__(self) -> str:
        return f"{self.title} for {self.user_id}"


class NoticeDigest(models.Model):
    """Messages that go out as one, to the same addresses by one connection. Open until a sender claims it."""

    class Status(models.TextChoices):
        OPEN = "open"  # what comes joins it; due when its window, or the pause before the next try, is over
        SENDING = "sending"  # due when its sender is to be taken for lost
        SENT = "sent"
        FAILED = "failed"
        UNKNOWN = "unknown"

    identity = models.CharField(max_length=64)  # a hash of all that must be the same
    connection = models.CharField(max_length=64)  # its name
    kind = models.CharField(max_length=16)
    key = models.CharField(max_length=200)  # what the flow says belongs together
    to = JSONText(default=list, row=("identity",))
    cc = JSONText(default=list, row=("identity",))
    most = models.PositiveIntegerField()  # messages listed
    repeat = models.BooleanField(default=False)  # send again what may have gone out
    status = models.CharField(max_length=8, choices=Status.choices)
    handed = models.BooleanField(default=False)  # while sending: somebody may have it
    fence = models.PositiveIntegerField(default=0)
    count = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    opened_at = models.FloatField()
    due_at = models.FloatField()
    ended_at = models.FloatField(null=True)
    message_id = models.CharField(max_length=250, blank=True, default="")
    error = PayloadText(max_length=500, blank=True, default="", row=("identity",))

    class Meta:
        constraints: ClassVar = [
            # the one that a message joins
            models.UniqueConstraint(fields=["identity"], condition=Q(status="open"), name="notice_digest_open"),
        ]
        indexes: ClassVar = [
            # what is due
            models.Index(fields=["due_at"], condition=Q(status__in=("open", "sending")), name="notice_digest_due"),
            # what is old enough to be forgotten
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="notice_digest_age"),
        ]

    def __str__(self) -> str:
        return f"{self.key} by {self.connection}: {self.status}"


class NoticeDelivery(models.Model):
    """What one notify step did by one channel. Written before anything is sent, so that a repeat knows of it."""

    class Status(models.TextChoices):
        WAITING = "waiting"  # for the end of its digest's window
        SENDING = "sending"  # found by another attempt: the one that sent was lost
        SENT = "sent"
        FAILED = "failed"  # nobody got it
        UNKNOWN = "unknown"  # it may have gone out

    key = models.CharField(max_length=200)  # the idempotency key
    channel = models.CharField(max_length=64)  # name of the connection; "" in the product
    kind = models.CharField(max_length=16)  # smtp | apprise | in_app
    run_id = models.CharField(max_length=32)
    step = models.CharField(max_length=80)
    item = models.PositiveIntegerField(null=True)
    status = models.CharField(max_length=8, choices=Status.choices)
    recipients = models.PositiveIntegerField(default=0)
    # [{to, said}] of recipients that were refused, or are not known
    refused = JSONText(default=list, row=("key", "channel"))
    message_id = models.CharField(max_length=250, blank=True, default="")
    error = PayloadText(max_length=500, blank=True, default="", row=("key", "channel"))
    at = models.FloatField()
    digest = models.ForeignKey(NoticeDigest, models.SET_NULL, null=True, related_name="messages")
    # of a message in a digest
    title = PayloadText(max_length=300, blank=True, default="", row=("key", "channel"))
    text = PayloadText(blank=True, default="", row=("key", "channel"))  # until it went out

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["key", "channel"], name="notice_delivery_once")]
        indexes: ClassVar = [
            # what a run sent
            models.Index(fields=["run_id", "at"], name="notice_delivery_run"),
            # what is old enough to be forgotten
            models.Index(fields=["at"], name="notice_delivery_age"),
        ]

    def __str__(self) -> str:
        return f"{self.key} by {self.channel or 'the product'}: {self.status}"


class NoticeMute(models.Model):
    """What one person chose of one kind of notice; without a row it is in the product."""

    class How(models.TextChoices):
        NONE = "none"  # not told at all
        EMAIL = "email"  # in the product and by e-mail

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notice_mutes", db_index=False)
    kind = models.CharField(max_length=16)
    how = models.CharField(max_length=8, choices=How.choices, default=How.NONE)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "kind"], name="notice_mute_once")]

    def __str__(self) -> str:
        return f"{self.user_id}, {self.kind}: {self.how}"
