"""L4 tables: a question to people, and their final answers."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText, PayloadText
from resources.ids import new_id

#: what names the row of a decision, where its texts are sealed at rest
_DECISION = ("request_id",)  # all of it that workers may see


class ApprovalRequest(models.Model):
    """What the reviewer saw is kept as it was: `actions` is the canonical text the digest is taken of."""

    class Status(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        REJECTED = "rejected"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"  # its run was cancelled or ended
        SUPERSEDED = "superseded"  # the action changed: another request asks again
        CHANGES_REQUESTED = "changes_requested"

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    kind = models.CharField(max_length=16, default="step")  # step | promotion | dead_letters | tool_call
    status = models.CharField(max_length=18, choices=Status.choices, default=Status.OPEN)
    run = models.ForeignKey("runs.Run", models.CASCADE, null=True, related_name="approvals")
    step = models.CharField(max_length=64, blank=True, default="")
    item = models.IntegerField(default=-1)
    pass_no = models.IntegerField(default=1)
    folder = models.CharField(max_length=200, blank=True, default="")
    token = models.CharField(max_length=64, unique=True)  # of the engine's wait
    title = PayloadText(max_length=300, row=("id",))
    summary = PayloadText(blank=True, default="", row=("id",))  # markdown
    actions = JSONText(default=list, row=("id",))  # [{step, item, family, connection, config, sentence}]
    digest = models.CharField(max_length=64)
    form_schema = JSONText(default=dict, row=("id",))
    irreversible = models.BooleanField(default=False)
    quorum = models.PositiveSmallIntegerField(default=1)
    reviewers = JSONText(default=dict)  # {users, groups, exclude}
    excluded = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", blank=True)
    on_expiry = models.CharField(max_length=8, default="reject")
    previous = models.ForeignKey("self", models.SET_NULL, null=True, related_name="later")
    created_at = models.FloatField()
    expires_at = models.FloatField(null=True)
    closed_at = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "step", "item"],
                condition=Q(status="open"),
                name="one_open_request_per_step",
            ),
            models.CheckConstraint(condition=Q(quorum__gte=1), name="quorum_at_least_one"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "expires_at"], name="approval_inbox"),  # the inbox
        ]

    def __str__(self) -> str:
        return str(self.title)


class NamedReviewer(models.Model):
    """One name of a request's `reviewers`, so that an inbox is one query. No rows: every reviewer of the folder.

    Names, not keys: somebody who joins the group while the request is open may decide.
    """

    class Kind(models.TextChoices):
        USER = "user"
        GROUP = "group"

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="named", db_index=False)
    kind = models.CharField(max_length=5, choices=Kind.choices)
    name = models.CharField(max_length=150)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "kind", "name"], name="reviewer_named_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Decision(models.Model):
    """Final: no row is ever changed. One per person and action: a form value that changes the action asks anew."""

    class Verdict(models.TextChoices):
        APPROVE = "approve"
        REJECT = "reject"

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="decisions")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    digest = models.CharField(max_length=64)  # what this person saw
    form = JSONText(default=dict, row=_DECISION)
    comment = PayloadText(blank=True, default="", row=_DECISION)
    at = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "person", "digest"], name="one_decision_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.verdict}"
