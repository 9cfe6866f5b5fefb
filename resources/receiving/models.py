"""The table of links to upload to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from resources.fields import JSONText
from resources.ids import new_id


class UploadLink(models.Model):
    """Whoever has the link may bring one file, once. The link itself is signed and kept nowhere."""

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    folder = models.CharField(max_length=200, blank=True, default="")
    name = models.CharField(max_length=200)  # of the resource; what the sender calls it counts for nothing
    content_type = models.CharField(max_length=100, blank=True, default="")  # "": any
    max_bytes = models.PositiveBigIntegerField()
    labels = JSONText(default=dict)
    created_by = models.CharField(max_length=150)
    created_at = models.FloatField()  # epoch seconds, as all times here
    expires_at = models.FloatField(db_index=True)
    revoked_at = models.FloatField(null=True)
    used_at = models.FloatField(null=True)  # set once, in the transaction that makes the resource
    artifact = models.ForeignKey("resources.Artifact", models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(artifact__isnull=True) | models.Q(used_at__isnull=False), name="upload_link_used"
            )
        ]

    def __str__(self) -> str:
        return f"upload link {self.id}"

    def state(self, now: float) -> str:
        """open | used | revoked | over."""
        if self.used_at is not None:
            return "used"
        if self.revoked_at is not None:
            return "revoked"
        return "over" if self.expires_at <= now else "open"
