"""The index of what people look for, kept by the keeper; every row can be made again from what it stands for.

The words are beside it: on PostgreSQL in a column `vector` with a GIN index, on SQLite in the FTS5 table
`runs_searchwords`, whose rowid is the entry's id. Both are made by the migration and written by runs/search/index.py.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class SearchEntry(models.Model):
    class Kind(models.TextChoices):
        RUN = "run"
        FLOW = "flow"
        RESOURCE = "resource"
        CONNECTION = "connection"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    object_id = models.CharField(max_length=64)  # id of a run or resource, slug of a flow, name of a connection
    flow = models.CharField(max_length=63, blank=True, default="")  # of a run or flow: its folder decides who sees it
    folder = models.CharField(max_length=200, blank=True, default="")  # of a resource: who may see it
    status = models.CharField(max_length=12, blank=True, default="")  # of a run; of a flow: live or draft
    labels = models.TextField(blank=True, default="")  # a line "name=text" each, between line ends
    at = models.FloatField()  # epoch seconds: when a run or resource was made, a flow or connection changed
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True, default="")
    mark = models.CharField(max_length=64, blank=True, default="")  # of the version of the object that is indexed

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "object_id"], name="search_entry_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class SearchState(models.Model):
    """One row (id 1): how far history, audit log and resources are indexed."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    events = models.BigIntegerField(default=0)  # id of the last entry of the history
    audit = models.BigIntegerField(default=0)  # number of the last entry of the audit log
    resources = models.CharField(max_length=26, blank=True, default="")  # id of the newest resource

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="search_state_is_one_row")]

    def __str__(self) -> str:
        return f"{self.events} {self.audit} {self.resources}"
