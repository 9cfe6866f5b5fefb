"""What worker clusters do with each table: the one list that the grants of their role are made from. Pure.

Each model has a line, also one that workers never touch. A lock (`SELECT … FOR UPDATE`) needs UPDATE on a column.
What PostgreSQL does by itself for foreign keys (looking up, cascading) needs no right of the role.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Columns = bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """Columns: True is all of them, a tuple those named, False none."""

    select: Columns = False
    insert: bool = False
    update: Columns = False
    delete: bool = False

    def clauses(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(privilege, columns) of a GRANT; no columns: of the whole table."""
        wanted = {"SELECT": self.select, "INSERT": self.insert, "UPDATE": self.update, "DELETE": self.delete}
        for privilege, columns in wanted.items():
            if columns:
                yield privilege, columns if isinstance(columns, tuple) else ()


NOTHING: Final = Rights()
READ: Final = Rights(select=True)
ADD: Final = Rights(select=True, insert=True)
ALL: Final = Rights(select=True, insert=True, update=True, delete=True)


def changing(*columns: str, delete: bool = False) -> Rights:
    """Rows are read and added; of what is there these columns change."""
    return Rights(select=True, insert=True, update=columns, delete=delete)


RIGHTS: Final[dict[str, Rights]] = {
    # people: notices and reviewers are found by name; no password, no session, no token
    "auth.Permission": NOTHING,
    "auth.Group_permissions": NOTHING,
    "auth.Group": READ,
    "auth.User_groups": READ,
    "auth.User_user_permissions": NOTHING,
    "auth.User": Rights(select=("id", "username", "is_active")),
    "contenttypes.ContentType": NOTHING,
    "sessions.Session": NOTHING,
    "resources.Grant": NOTHING,
    "resources.ApiToken": NOTHING,
    "resources.Session": NOTHING,
    # of django-q2, whose queue and results are not used
    "django_q.Task": NOTHING,
    "django_q.Success": NOTHING,
    "django_q.Failure": NOTHING,
    "django_q.Schedule": NOTHING,
    "django_q.OrmQ": NOTHING,
    # what steps use. The sealed value in use is read, former ones are for what comes from outside: the web process
    "resources.Secret": Rights(select=("id", "name", "source", "locator", "ciphertext", "key_id")),
    "resources.SecretVersion": NOTHING,
    "resources.Connection": READ,
    "resources.AccessToken": Rights(select=True, insert=True, delete=True),  # noted before they are sent
    "resources.ConnectionHealth": changing("used_at", "failed_at", "failure"),
    "resources.ConnectionLimit": changing("book", delete=True),
    "resources.Permit": ALL,
    "resources.Blob": changing("key", "key_id", "size"),
    "resources.Artifact": changing("created_at"),  # which it never does: to lock the row
    "resources.ResourceUse": ADD,
    "resources.Upload": NOTHING,
    "resources.UploadPart": NOTHING,
    "resources.UploadLink": NOTHING,
    "resources.KvEntry": ALL,
    "resources.KvWrite": changing("result"),
    "resources.Notice": ADD,
    "resources.NoticeDelivery": changing(
        "status", "at", "error", "message_id", "refused", "digest_id", "title", "text"
    ),
    "resources.NoticeDigest": changing("count"),  # the keeper sends
    "resources.NoticeMute": READ,
    # a run that another one replaces, or whose caller is gone, is cancelled by a worker, which says so here
    "resources.AuditEntry": ADD,
    "resources.AuditHead": changing("seq", "hash"),
    # what should happen is people's business
    "flows.Flow": READ,
    "flows.Draft": READ,
    "flows.DraftRevision": NOTHING,
    "flows.Release": READ,
    "flows.ConnectionUse": NOTHING,
    "flows.Variable": READ,
    "flows.Binding": READ,
    # what is happening
    "runs.Run": changing(
        "status",
        "version",
        "seq",
        "output",
        "error",
        "control",
        "degraded",
        "error_class",
        "dead_at",
        "placed",
        "started_at",
        "ended_at",
    ),
    "runs.StepRun": changing(
        "status", "version", "pass_no", "attempt", "state", "output", "live", "started_at", "ended_at"
    ),
    "runs.LastGood": changing("run_id", "at", "output"),
    "runs.Work": ALL,
    "runs.RunEvent": ADD,
    "runs.WaitToken": changing("status", "answer", "response", "expires_at", "answered_at"),
    "runs.StartKey": ADD,
    "runs.LimitKey": changing("active"),
    "runs.FlowGate": changing("at"),  # which it never does: to lock the row
    "runs.WorkCluster": ALL,
    "runs.Quarantine": READ,
    "runs.Job": changing("cancelled_at", "state", "ended_at"),
    "runs.EventName": changing("keep"),  # which it never does: to lock the row
    "runs.NamedEvent": READ,
    "runs.EventUse": ADD,
    "runs.EventWait": Rights(select=True, insert=True, delete=True),
    "runs.SearchEntry": READ,
    "runs.Usage": ADD,
    "runs.ReplayBatch": NOTHING,
    "runs.ReplayItem": NOTHING,
    "runs.InputFailure": NOTHING,
    "runs.HookDelivery": NOTHING,
    "runs.RunnerToken": NOTHING,
    "runs.Runner": NOTHING,
    "runs.JobLog": NOTHING,
    "runs.EventListener": NOTHING,
    "runs.Subscription": NOTHING,
    "runs.Delivery": NOTHING,
    "runs.GoneRun": NOTHING,
    "runs.Schedule": NOTHING,
    "runs.ScheduledTime": NOTHING,
    "runs.SearchState": NOTHING,
    "approvals.ApprovalRequest": changing("status", "closed_at"),
    "approvals.ApprovalRequest_excluded": ADD,
    "approvals.NamedReviewer": ADD,
    # which resources the votes on open requests name; who voted, how and why is not theirs to read
    "approvals.Decision": Rights(select=("request_id", "form")),
}
