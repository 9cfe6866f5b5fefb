"""One settings file; everything that differs between machines is an environment variable.

Nonsense stops the start with a sentence (ImproperlyConfigured), never a surprise at night.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from orchestra import buckets, instance, keys, live, logs, uploading

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()

#: what `manage.py serve` wrote about itself: commands run by hand beside it mean the same instance
_served = instance.read(DATA_DIR)
PORT = env.int("PORT", default=_served.port)

DEBUG = env.bool("DEBUG", default=False)
#: the demo workspace and the demo world; off in production
DEMO = env.bool("DEMO", default=_served.demo)
WORLD_URL = env.str("WORLD_URL", default=_served.world_url)
SECRET_KEY = env.str("SECRET_KEY", default="") or keys.secret_key(DATA_DIR)
#: {key id: base64 of 32 bytes}, newest first: what secrets are encrypted with
ENCRYPTION_KEYS, ENCRYPTION_KEYS_FROM = keys.key_ring(
    DATA_DIR, env.str("ENCRYPTION_KEYS", default=""), env.str("ENCRYPTION_KEYS_FILE", default="")
)
#: where secrets whose source is `vault` are (resources/backends/vault.py)
VAULT: dict[str, Any] = {
    "address": env.str("VAULT_ADDR", default=""),
    "token": env.str("VAULT_TOKEN", default=""),
    "token_file": env.str("VAULT_TOKEN_FILE", default=""),
    "role_id": env.str("VAULT_ROLE_ID", default=""),
    "secret_id": env.str("VAULT_SECRET_ID", default=""),
    "secret_id_file": env.str("VAULT_SECRET_ID_FILE", default=""),
    "approle_mount": env.str("VAULT_APPROLE_MOUNT", default="approle"),
    "namespace": env.str("VAULT_NAMESPACE", default=""),
    "ca_file": env.str("VAULT_CACERT", default=""),
    "timeout": env.float("VAULT_TIMEOUT_SECONDS", default=5.0),
    "cache_seconds": env.float("VAULT_CACHE_SECONDS", default=30.0),
}
if not (0.1 <= VAULT["timeout"] <= 30 and 0 <= VAULT["cache_seconds"] <= 300):
    raise ImproperlyConfigured("VAULT_TIMEOUT_SECONDS must be from 0.1 to 30, VAULT_CACHE_SECONDS from 0 to 300.")
#: the smtp connection by which notices go out to those who want them by e-mail, too; "": none do
NOTICE_CONNECTION = env.str("NOTICE_CONNECTION", default="")
#: schemas of Apprise addresses that notify steps may send to; what is not sent by guarded HTTP is refused all the same
NOTIFY_SERVICES = frozenset(env.list("NOTIFY_SERVICES", default=[
    "bark", "barks", "bluesky", "bsky", "dingtalk", "discord", "feishu", "flock", "form", "forms", "gchat", "gotify",
    "gotifys", "ifttt", "join", "json", "jsons", "lark", "line", "mastodon", "mastodons", "matrix", "matrixs", "mmost",
    "mmosts", "nctalk", "nctalks", "ntfy", "ntfys", "onesignal", "opsgenie", "pagerduty", "pbul", "pover", "prowl",
    "pushdeer", "pushy", "revolt", "rocket", "rockets", "ryver", "signal", "signals", "simplepush", "slack", "synology",
    "synologys", "tgram", "threema", "toot", "toots", "twist", "victorops", "webex", "wecombot", "workflow",
    "workflows", "wxteams", "xml", "xmls", "zulip",
]))  # fmt: skip
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"])
try:
    #: addresses and networks of our own proxies, whose X-Forwarded-For is believed
    TRUSTED_PROXIES = tuple(ipaddress.ip_network(text.strip()) for text in env.list("TRUSTED_PROXIES", default=[]))
except ValueError as error:
    raise ImproperlyConfigured(f"TRUSTED_PROXIES lists addresses and networks: {error}.") from None
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "django_htmx",
    "django_q",
    "csp",
    "resources",
    "flows",
    "runs",
    "approvals",
    "orchestra",
]

MIDDLEWARE = [
    "orchestra.middleware.fast_lane",  # hooks and callbacks need no session; see there
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "orchestra.middleware.errors",
]

ROOT_URLCONF = "orchestra.urls"
ASGI_APPLICATION = "orchestra.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "orchestra.context.shell",
            ],
            "builtins": ["orchestra.templatetags.ui"],
        },
    }
]

# -- database ----------------------------------------------------------------------------------------------
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",  # rule 11: a writer that starts as a reader can fail to upgrade
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA cache_size=-32000;"
        "PRAGMA temp_store=MEMORY;PRAGMA journal_size_limit=67108864;"
    ),
}
POSTGRES_OPTIONS = {
    "connect_timeout": 10,
    "application_name": "orchestra",
    # the hot statements say themselves that they are to be prepared (runs/batch.py, runs/hot.py); Django's default,
    # None, ignores that, and any count of the driver's own would prepare others, too
    "prepare_threshold": 1_000_000_000,
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'orchestra.sqlite3'}")
}
_db = DATABASES["default"]
if _db["ENGINE"].endswith("sqlite3"):
    _db["ENGINE"] = "resources.sqlite3"  # Django's, with writers taking turns
    _db["OPTIONS"] = {**_db.get("OPTIONS", {}), **SQLITE_OPTIONS}
elif _db["ENGINE"].endswith("postgresql"):
    _db["OPTIONS"] = {**POSTGRES_OPTIONS, **_db.get("OPTIONS", {})}
else:
    raise ImproperlyConfigured("DATABASE_URL must be a sqlite:// or postgres:// URL.")
_db["CONN_MAX_AGE"] = None
_db["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- live feed, queue --------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {"default": live.channel_layer(env)}
WORKERS = env.int("WORKERS", default=max(4, 2 * (os.cpu_count() or 2)))
if WORKERS < 1:
    raise ImproperlyConfigured("WORKERS must be 1 or more.")
#: threads that answer HTTP requests in one web process; each keeps a database connection
WEB_THREADS = env.int("WEB_THREADS", default=8)
if WEB_THREADS < 1:
    raise ImproperlyConfigured("WEB_THREADS must be 1 or more.")
#: calls of webhooks with `respond` that wait for their runs in one web process; more are answered 202 at once
WAITING_CALLS = env.int("WAITING_CALLS", default=100)
if WAITING_CALLS < 0:
    raise ImproperlyConfigured("WAITING_CALLS must be 0 (nobody waits) or more.")
#: seconds between two writes of the log of webhooks' deliveries; 0: nobody writes it
HOOK_LOG_SECONDS = env.float("HOOK_LOG_SECONDS", default=0.5)
#: seconds a claimed row stays with a worker that stopped renewing it
LEASE_SECONDS = env.float("LEASE_SECONDS", default=30.0)
#: seconds that attempts in flight have when a cluster stops; what may be repeated is handed back some seconds earlier
STOP_SECONDS = env.float("STOP_SECONDS", default=30.0)
#: where the keeper writes this host's load for the supervisor that scales its workers; empty: nowhere
LOAD_FILE = env.str("LOAD_FILE", default="")
#: queues that this process's workers take from
QUEUES: list[str] = [name.strip() for name in env.list("QUEUES", default=["default"]) if name.strip()]
#: an attempt that may take longer than this is long; one worker of a cluster takes no long ones
LONG_SECONDS = env.float("LONG_SECONDS", default=60.0)
#: seconds between looks at the database when every bell is silent
POLL_SECONDS = env.float("POLL_SECONDS", default=1.0)
Q_CLUSTER = {
    "name": "orchestra",
    "workers": WORKERS,
    "broker_class": "runs.broker.WorkBroker",
    # A worker serves one task for life, sent with timeout -1; steps have deadlines of their own. So this is only how
    # long a stop waits for the monitor, which has nothing to do here, and never ends where one before it was killed: it
    # held the lock of the queue both read.
    "timeout": 1,
    "retry": 2**31,
    "recycle": 2**31,
    "save_limit": -1,
    "queue_limit": WORKERS + 4,
    "bulk": 1,
    "poll": 0.2,
    "guard_cycle": 0.5,
    "catch_up": False,
    "scheduler": False,
    "ack_failures": True,
    "label": "Workers",
}

# -- limits --------------------------------------------------------------------------------------------------
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
MAX_INLINE_OUTPUT_BYTES = env.int("MAX_INLINE_OUTPUT_BYTES", default=64 * 1024)
#: of one resource that comes as a stream
MAX_RESOURCE_BYTES = env.int("MAX_RESOURCE_BYTES", default=4 * 1024**3)
#: of one that comes in a single request: the web server holds it in memory; larger ones come in parts
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=32 * 1024 * 1024)
#: of all that people uploaded together; 0: no limit
MAX_UPLOADED_BYTES = env.int("MAX_UPLOADED_BYTES", default=0)
#: type, or image/*, or */* -> bytes of one upload of it; 0: such are not taken
UPLOAD_LIMITS = uploading.limits(env.str("UPLOAD_LIMITS", default=""))
MAX_OUTPUT_BYTES = env.int("MAX_OUTPUT_BYTES", default=16 * 1024 * 1024)

# -- outbound events, retention ------------------------------------------------------------------------------
#: seconds for one delivery of an event: connecting, sending, the answer
OUTBOUND_TIMEOUT_SECONDS = env.float("OUTBOUND_TIMEOUT_SECONDS", default=15.0)
if not 0.1 <= OUTBOUND_TIMEOUT_SECONDS <= 120:
    raise ImproperlyConfigured("OUTBOUND_TIMEOUT_SECONDS must be from 0.1 to 120.")
#: runs of one input that give up alike within a day before the input is refused; 0: only people quarantine
QUARANTINE_AFTER = env.int("QUARANTINE_AFTER", default=5)
if QUARANTINE_AFTER < 0:
    raise ImproperlyConfigured("QUARANTINE_AFTER must be 0 (never by itself) or more.")
#: days a run is kept after its end; 0: for ever
RETENTION_DAYS = env.float("RETENTION_DAYS", default=0.0)
if RETENTION_DAYS < 0:
    raise ImproperlyConfigured("RETENTION_DAYS must be 0 (keep for ever) or more.")

# -- people --------------------------------------------------------------------------------------------------
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]
#: Django's in the database, with the person of each: all of one person's end at once
SESSION_ENGINE = "resources.people.sessions"
#: hours that a link to choose a password is good for, once
INVITATION_HOURS = env.int("INVITATION_HOURS", default=72)
if not 1 <= INVITATION_HOURS <= 24 * 30:
    raise ImproperlyConfigured("INVITATION_HOURS must be from 1 to 720.")
PASSWORD_RESET_TIMEOUT = INVITATION_HOURS * 3600
#: days until an API token ends, where nothing else is said, and at most; TOKEN_MAX_DAYS=0: ten years
TOKEN_DAYS = env.int("TOKEN_DAYS", default=90)
TOKEN_MAX_DAYS = env.int("TOKEN_MAX_DAYS", default=366)
if not (0 <= TOKEN_MAX_DAYS <= 3650 and 1 <= TOKEN_DAYS <= (TOKEN_MAX_DAYS or 3650)):
    raise ImproperlyConfigured("TOKEN_DAYS must be from 1 to TOKEN_MAX_DAYS; that from 1 to 3650, or 0.")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
# two instances on one host name (different ports) share cookies: name them by port, or they sign each other out
_suffix = PUBLIC_URL.rsplit(":", 1)[-1] if PUBLIC_URL.count(":") > 1 else ""
SESSION_COOKIE_NAME = f"orchestra_session{_suffix}"
CSRF_FAILURE_VIEW = "orchestra.views.csrf_failed"
CSRF_COOKIE_NAME = f"orchestra_csrf{_suffix}"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if SESSION_COOKIE_SECURE:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        # CodeMirror writes its theme into a style element and takes a nonce for it
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "manifest-src": [SELF],
    }
}

# -- files ---------------------------------------------------------------------------------------------------
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
MEDIA_ROOT = DATA_DIR / "files"
#: resources are encrypted in their storage, with the newest key of the ring
ENCRYPT_RESOURCES = env.bool("ENCRYPT_RESOURCES", default=False)
#: what runs keep in the database is sealed, with the newest key of the ring (resources/payloads.py)
ENCRYPT_PAYLOADS = env.bool("ENCRYPT_PAYLOADS", default=False)
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "resources": buckets.storage(env) or {"BACKEND": "resources.filestore.Files"},
}

# -- language, time --------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

DEFAULT_EXCEPTION_REPORTER_FILTER = "orchestra.reporting.NothingShown"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"class": "orchestra.logs.Line", "format": "{asctime} {levelname} {name}: {message}", "style": "{"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": logs.QUIET,
    "root": {
        "handlers": ["stderr"],
        "level": env.str("LOG_LEVEL", default="WARNING").upper(),
    },
}
