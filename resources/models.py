"""L1 tables: who may do what, secrets, connections, artifacts, key-values, the audit log."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from resources.fields import JSONText
from resources.ids import new_id


class Role(models.TextChoices):
    """Granted on folders; each includes what the ones before it may, except that only a reviewer decides."""

    VIEWER = "viewer"
    AUTHOR = "author"
    OPERATOR = "operator"
    REVIEWER = "reviewer"
    REVEALER = "revealer"  # reads one value that a schema marks as sensitive at a time, and says why
    ADMIN = "admin"


class Grant(models.Model):
    """A role for one user or one group on a folder and all below it ("" is every folder)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="grants",
    )
    group = models.ForeignKey("auth.Group", models.CASCADE, null=True, blank=True, related_name="grants")
    folder = models.CharField(max_length=200, blank=True, default="")
    role = models.CharField(max_length=16, choices=Role.choices)
    # the database knows these defaults, too: programs of the version before insert rows while this one starts
    reason = models.CharField(max_length=500, blank=True, default="", db_default="")
    created_by = models.CharField(max_length=150, blank=True, default="", db_default="")  # "" before this was noted
    created_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
                name="grant_user_or_group",
            ),
            models.UniqueConstraint(
                fields=["user", "folder", "role"],
                condition=Q(user__isnull=False),
                name="grant_once_per_user",
            ),
            models.UniqueConstraint(
                fields=["group", "folder", "role"],
                condition=Q(group__isnull=False),
                name="grant_once_per_group",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.folder or 'everything'}"


class ApiToken(models.Model):
    """A bearer token. Only the SHA-256 of it is kept; `prefix` lets a person recognise it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = JSONText(default=list)  # empty: everything its user may
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.CharField(max_length=64, blank=True, default="", db_default="")  # an address
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"


class Secret(models.Model):
    """A value nobody reads back. `ciphertext` is AES-256-GCM with this row as associated data."""

    name = models.CharField(max_length=64, unique=True)
    source = models.CharField(max_length=8, default="stored")  # or one of resources.backends.BACKENDS
    locator = JSONText(default=dict)  # where a backend finds the value
    ciphertext = models.BinaryField()  # empty: a backend has the value
    key_id = models.CharField(max_length=32, blank=True)
    version = models.PositiveIntegerField(default=1)
    last4 = models.CharField(max_length=4, blank=True, default="")  # only of values of 12 characters and more
    rotate_days = models.PositiveSmallIntegerField(null=True)  # how old a value may become; NULL: nobody is reminded
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class SecretVersion(models.Model):
    """One version of a secret: who set it and when. Its value moves here when the next one is set."""

    secret = models.ForeignKey(Secret, models.CASCADE, related_name="versions", db_index=False)
    version = models.PositiveIntegerField()
    source = models.CharField(max_length=8, default="stored")
    locator = JSONText(default=dict)
    ciphertext = models.BinaryField(null=True)  # NULL: the current one, erased, or a backend has the value
    key_id = models.CharField(max_length=32, blank=True, default="")
    last4 = models.CharField(max_length=4, blank=True, default="")
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150, blank=True, default="")
    restores = models.PositiveIntegerField(null=True)  # the version whose value it has again
    valid_until = models.FloatField(
        null=True
    )  # epoch seconds; of a former one: signatures by it are accepted until then
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["secret", "version"], name="secret_version_once")]

    def __str__(self) -> str:
        return f"{self.secret_id} version {self.version}"

    @property
    def kept(self) -> bool:
        """Can one go back to it?"""
        return bool(self.key_id) or (self.source != "stored" and self.revoked_at is None)


class Connection(models.Model):
    """How to reach one outside system. `settings` never holds a secret, only names of secrets."""

    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16)  # one of resources.kinds.KINDS
    settings = JSONText(default=dict)  # validated by resources.connections per kind
    version = models.PositiveIntegerField(default=1)  # part of the approved digest
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name


class ConnectionHealth(models.Model):
    """What came of the last test and the last uses of a connection; written about once a minute at most, never with
    what a run does (resources/health.py)."""

    # no constraint: a late note about a connection that was just deleted is no error; its row is taken with it
    connection = models.OneToOneField(Connection, models.CASCADE, related_name="health", db_constraint=False)
    tested_at = models.FloatField(null=True)
    test_ok = models.BooleanField(null=True)
    test_message = models.CharField(max_length=1000, blank=True, default="")
    used_at = models.FloatField(null=True)
    failed_at = models.FloatField(null=True)
    failure = models.CharField(max_length=500, blank=True, default="")  # masked before it comes here

    def __str__(self) -> str:
        return f"health of {self.connection_id}"


class ConnectionLimit(models.Model):
    """What is remembered of a connection's limits (resources/limits/book.py). Who changes permits locks this row."""

    # no constraint: its check would lock the connection after this row, and a change of settings locks them the other
    # way round
    connection = models.OneToOneField(Connection, models.CASCADE, related_name="limit", db_constraint=False)
    book = JSONText(default=dict)

    def __str__(self) -> str:
        return f"limits of {self.connection_id}"


class Permit(models.Model):
    """One attempt that uses a limited connection, or waits to. Gone when the attempt ends.

    Waiting: `due` and `taken_at` empty. Promised: `due` says from when it may begin. Taken: by `owner`, as `attempt`.
    L1 knows no run tables: run, step and item are what they call them.
    """

    connection = models.ForeignKey(
        Connection, models.CASCADE, related_name="permits", db_index=False, db_constraint=False
    )
    run_id = models.CharField(max_length=26)
    step = models.CharField(max_length=64)
    item = models.IntegerField()
    since = models.FloatField()  # when it first asked: its place in the line
    due = models.FloatField(null=True)
    taken_at = models.FloatField(null=True)
    owner = models.CharField(max_length=64, blank=True, default="")
    attempt = models.IntegerField(default=0)
    probe = models.BooleanField(default=False)  # of a half-open circuit breaker
    falls = models.BooleanField(default=False)  # an open breaker turns it away instead of letting it wait
    why = models.CharField(max_length=120, blank=True, default="")  # what holds it, for people

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run_id", "step", "item"], name="permit_once")]
        indexes: ClassVar = [
            # the next in line: WHERE connection_id = … AND taken_at IS NULL AND due IS NULL ORDER BY since
            models.Index(
                fields=["connection", "since"],
                condition=Q(taken_at__isnull=True, due__isnull=True),
                name="permit_waiting",
            ),
            # those that count: WHERE connection_id = … AND (taken_at IS NOT NULL OR due IS NOT NULL)
            models.Index(
                fields=["connection"],
                condition=Q(taken_at__isnull=False) | Q(due__isnull=False),
                name="permit_counted",
            ),
            # those of a dead worker: WHERE owner = …
            models.Index(fields=["owner"], condition=~Q(owner=""), name="permit_owned"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.step}"


class Blob(models.Model):
    """Stored bytes, once for all resources that are equal. A `key` is never used twice: what is deleted stays so."""

    sha256 = models.CharField(primary_key=True, max_length=64)  # of the plain bytes, also where they are encrypted
    size = models.PositiveBigIntegerField()
    key = models.CharField(max_length=100, unique=True)  # what the storage calls it
    key_id = models.CharField(max_length=32, blank=True, default="")  # of the key ring; "": not encrypted
    created_at = models.FloatField()  # epoch seconds

    def __str__(self) -> str:
        return self.sha256


class Artifact(models.Model):
    """A large value, for people a resource: `res://<id>`. Its bytes are a blob, shared by equal ones."""

    class Keep(models.TextChoices):
        RUN = "run", "As long as its run"
        UNTIL = "until", "Until a date"
        FOREVER = "forever", "Until somebody deletes it"

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    # the database itself refuses to delete a blob that a resource names
    blob = models.ForeignKey(Blob, models.PROTECT, db_column="sha256", related_name="artifacts")
    size = models.PositiveBigIntegerField()
    content_type = models.CharField(max_length=100, default="application/json")
    name = models.CharField(max_length=200, blank=True, default="")
    run_id = models.CharField(max_length=26, blank=True, default="", db_index=True)  # origin; L1 knows no run table
    step = models.CharField(max_length=80, blank=True, default="")
    folder = models.CharField(max_length=200, blank=True, default="")  # who may read it: viewers of this folder
    keep = models.CharField(max_length=7, choices=Keep.choices, default=Keep.RUN, db_default=Keep.RUN)
    keep_until = models.FloatField(null=True)  # epoch seconds, with `until`
    pinned = models.BooleanField(default=False, db_default=False)  # kept whatever the rest says
    labels = JSONText(default=dict)  # {name: short text}
    link_version = models.PositiveIntegerField(default=1, db_default=1)  # raised to revoke all links to it
    condemned_at = models.FloatField(null=True)  # deleted for everybody; the row goes once no open run can name it
    created_by = models.CharField(max_length=150, blank=True, default="", db_default="")  # who uploaded it
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(keep="until", keep_until__isnull=False) | (~Q(keep="until") & Q(keep_until__isnull=True)),
                name="resource_until_a_time",
            ),
        ]
        indexes: ClassVar = [
            # whose time is over: WHERE keep_until <= … AND condemned_at IS NULL AND NOT pinned
            models.Index(
                fields=["keep_until"],
                condition=Q(keep_until__isnull=False, condemned_at__isnull=True, pinned=False),
                name="resource_expiring",
            ),
            # what is to be deleted: WHERE condemned_at <= …
            models.Index(fields=["condemned_at"], condition=Q(condemned_at__isnull=False), name="resource_condemned"),
        ]

    def __str__(self) -> str:
        return f"res://{self.id}"

    @property
    def sha256(self) -> str:
        return self.blob_id

    @property
    def media(self) -> str:
        """What it is, without the parameters that many senders add: `text/csv` of `text/csv; charset=utf-8`."""
        return self.content_type.partition(";")[0].strip().lower()


class ResourceUse(models.Model):
    """A run read a resource of another run: it holds it while it is open. L1 knows no run table."""

    artifact = models.ForeignKey(Artifact, models.CASCADE, related_name="uses", db_index=False)
    run_id = models.CharField(max_length=26, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["artifact", "run_id"], name="resource_use_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} uses {self.artifact_id}"


class Upload(models.Model):
    """A resource that comes in parts, over as many requests as it takes. Gone when it is complete or over."""

    id = models.CharField(primary_key=True, max_length=26, default=new_id)
    owner = models.CharField(max_length=150, db_index=True)  # the actor's name: nobody else goes on with it
    name = models.CharField(max_length=200, blank=True, default="")
    content_type = models.CharField(max_length=100)
    folder = models.CharField(max_length=200, blank=True, default="")
    labels = JSONText(default=dict)
    size = models.PositiveBigIntegerField()  # of all of it, as announced
    received = models.PositiveBigIntegerField(default=0)
    expires_at = models.FloatField(db_index=True)

    def __str__(self) -> str:
        return f"{self.id} {self.received}/{self.size}"


class UploadPart(models.Model):
    """Bytes of an upload from `start` on. A part is a blob as any other: on every host, encrypted where they are."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="parts", db_index=False)
    start = models.PositiveBigIntegerField()
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="parts")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["upload", "start"], name="upload_part_once")]

    def __str__(self) -> str:
        return f"{self.upload_id} from {self.start}"


class KvEntry(models.Model):
    namespace = models.CharField(max_length=80)  # "flow:<slug>" or "shared"
    key = models.CharField(max_length=200)
    value = JSONText(null=True, row=("namespace", "key"))
    version = models.PositiveBigIntegerField(default=1)
    expires_at = models.FloatField(null=True)  # epoch seconds; None: never
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["namespace", "key"], name="kv_key")]
        indexes: ClassVar = [
            # what has expired: WHERE expires_at <= … ORDER BY expires_at
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="kv_expiring")
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.key}"


class KvWrite(models.Model):
    """The answer of a write by its idempotency key, made with it in one transaction: a repeat changes nothing."""

    idempotency_key = models.CharField(primary_key=True, max_length=200)
    result = JSONText(null=True, row=("idempotency_key",))
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return self.idempotency_key


class AuditEntry(models.Model):
    """Append-only; `hash` chains over the previous entry. The database refuses UPDATE and DELETE."""

    seq = models.BigIntegerField(unique=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    actor_kind = models.CharField(max_length=16)  # user | token | trigger | system
    address = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=100)
    data = JSONText(default=dict, row=("seq",))
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        indexes: ClassVar = [  # the filters of the audit log's page, newest first
            models.Index(fields=["object_type", "object_id", "seq"], name="audit_by_object"),
            models.Index(fields=["actor", "seq"], name="audit_by_actor"),
            models.Index(fields=["action", "seq"], name="audit_by_action"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action} {self.object_type} {self.object_id}"


class AuditHead(models.Model):
    """One row (id 1): the last entry's number and hash. Its lock orders writers; it shows a cut-off tail."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="audit_head_is_one_row")]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"


# tables of this app that stand beside their use; down here, since nothing above needs them
from resources.notices.models import Notice, NoticeDelivery, NoticeDigest, NoticeMute  # noqa: E402
from resources.oauth_kept import AccessToken  # noqa: E402
from resources.people.models import Session  # noqa: E402
from resources.receiving.models import UploadLink  # noqa: E402

__all__ = [
    "AccessToken",
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "AuditHead",
    "Blob",
    "Connection",
    "ConnectionHealth",
    "ConnectionLimit",
    "Grant",
    "KvEntry",
    "KvWrite",
    "Notice",
    "NoticeDelivery",
    "NoticeDigest",
    "NoticeMute",
    "Permit",
    "ResourceUse",
    "Role",
    "Secret",
    "SecretVersion",
    "Session",
    "Upload",
    "UploadLink",
    "UploadPart",
]
