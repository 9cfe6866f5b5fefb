"""The one shape of every error a program gets, as an HTTP response."""

from __future__ import annotations

import logging

from django.http import HttpResponse, JsonResponse

from resources.errors import OrchestraError
from resources.ids import new_id
from resources.unavailable import unavailable

log = logging.getLogger(__name__)


class Unexpected(OrchestraError):
    """A bug of ours. The answer has an id that finds the traceback in the log, and nothing else."""

    code = "internal"
    status = 500


def unexpected(error: Exception) -> OrchestraError:
    """Logs the traceback under a new id and makes the error that names it. Of a database that is full or away, a line
    and a sentence."""
    away = unavailable(error)
    if away is not None:
        log.error("the database is not available: %s", error)
        return away
    incident = new_id()
    log.error("unexpected error %s", incident, exc_info=error)
    return Unexpected(
        "Something broke on our side.", hint=f"Tell an admin the id {incident}.", details={"id": incident}
    )


def error_response(error: OrchestraError) -> HttpResponse:
    """The envelope, its status, and the headers that belong to it."""
    response = JsonResponse(error.to_json(), status=error.status)
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503) and isinstance(error.details, dict) and "retry_after" in error.details:
        response["Retry-After"] = str(error.details["retry_after"])
    return response
