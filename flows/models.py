"""L2 tables: flows, their draft, every revision of it, and immutable releases."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from flows.definition.plan import Plan
from resources.fields import JSONText

USER = settings.AUTH_USER_MODEL


class Flow(models.Model):
    slug = models.CharField(max_length=63, unique=True)
    folder = models.CharField(max_length=200, blank=True, default="")
    title = models.CharField(max_length=200, blank=True, default="")
    live = models.ForeignKey("Release", models.PROTECT, null=True, blank=True, related_name="+")
    created_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.slug


class Draft(models.Model):
    """The one editable text of a flow. `revision` is the optimistic lock and goes up by one each save."""

    flow = models.OneToOneField(Flow, models.CASCADE, related_name="draft")
    source = models.TextField()
    revision = models.PositiveIntegerField(default=1)
    updated_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.flow_id} r{self.revision}"


class DraftRevision(models.Model):
    flow = models.ForeignKey(Flow, models.CASCADE, related_name="revisions")
    revision = models.PositiveIntegerField()
    source = models.TextField()
    saved_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    saved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow", "revision"], name="draft_revision_once")]

    def __str__(self) -> str:
        return f"{self.flow_id} r{self.revision}"


class Release(models.Model):
    """What runs are pinned to. A database trigger refuses UPDATE and DELETE (see the migration)."""

    flow = models.ForeignKey(Flow, models.PROTECT, related_name="releases")
    version = models.CharField(max_length=40)  # semantic version without "v"
    language = models.PositiveSmallIntegerField()
    source = models.TextField()
    plan_json = JSONText()
    checksum = models.CharField(max_length=64)  # SHA-256 of the canonical plan
    notes = models.TextField(blank=True, default="")
    revision = models.PositiveIntegerField()  # the draft revision it was made from
    released_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    released_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["flow", "version"], name="release_version_once"),
            models.CheckConstraint(condition=Q(language__gte=1), name="release_language_known"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id} {self.version}"

    @property
    def plan(self) -> Plan:
        return Plan.from_json(self.plan_json)


class ConnectionUse(models.Model):
    """A connection that the flow's draft (`live` false) or its live release names. Kept by flows.uses."""

    flow = models.ForeignKey(Flow, models.CASCADE, related_name="connection_uses", db_index=False)
    name = models.CharField(max_length=64, db_index=True)
    live = models.BooleanField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow", "live", "name"], name="connection_use_once")]

    def __str__(self) -> str:
        return f"{self.flow_id} {self.name}"


class Variable(models.Model):
    """A value that flows read as `vars.<name>`: of the whole workspace (no flow), or of one flow, which comes first.

    `values` has "live", and "draft" for runs started as tests; a key that is missing is not set.
    """

    flow = models.ForeignKey(Flow, models.CASCADE, null=True, blank=True, related_name="variables")
    name = models.CharField(max_length=63)
    schema = JSONText(default=dict)  # JSON Schema that both values fit
    values = JSONText(default=dict)
    description = models.CharField(max_length=300, blank=True, default="")
    updated_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], condition=Q(flow__isnull=True), name="variable_of_workspace_once"),
            models.UniqueConstraint(
                fields=["flow", "name"], condition=Q(flow__isnull=False), name="variable_of_flow_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Binding(models.Model):
    """Which connection a name in flows stands for: in all of them (no flow), or in one, which comes first.

    `test` counts in runs started as tests, `live` in all others; "" leaves it to what comes after.
    """

    flow = models.ForeignKey(Flow, models.CASCADE, null=True, blank=True, related_name="bindings")
    name = models.CharField(max_length=64)
    test = models.CharField(max_length=64, blank=True, default="")
    live = models.CharField(max_length=64, blank=True, default="")
    updated_by = models.ForeignKey(USER, models.PROTECT, null=True, related_name="+")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], condition=Q(flow__isnull=True), name="binding_of_workspace_once"),
            models.UniqueConstraint(
                fields=["flow", "name"], condition=Q(flow__isnull=False), name="binding_of_flow_once"
            ),
            models.CheckConstraint(condition=~Q(test="", live=""), name="binding_says_something"),
        ]

    def __str__(self) -> str:
        return self.name
