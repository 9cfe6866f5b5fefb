"""Is this process up, and can it do its work?"""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from orchestra import room

_migrated = False


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when work can be done, else 503; `checks` says what is missing."""
    checks = readiness()
    ready = all(check == "ok" for check in checks.values())
    return JsonResponse({"status": "ready" if ready else "not_ready", "checks": checks}, status=200 if ready else 503)


def readiness() -> dict[str, str]:
    """Check -> "ok" or one sentence."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return {"database": "ok", "migrations": _migrations(), "room": room.check()}
    except DatabaseError:
        return {"database": "The database does not answer."}


def _migrations() -> str:
    global _migrated  # once true it stays true while this process lives: code and migrations come together
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "ok" if _migrated else "Migrations are missing; run manage.py migrate."
