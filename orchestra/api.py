"""The root of API v1: who is calling, and one shape for every error."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.datastructures import MultiValueDict
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.security import APIKeyCookie, HttpBearer

from approvals.api import router as approvals_router
from flows.api import router as flows_router
from flows.binding_api import router as bindings_router
from flows.template_api import router as templates_router
from flows.variable_api import router as variables_router
from orchestra.load_api import router as load_router
from resources import tokens
from resources.access import Actor
from resources.connection_api import router as connections_router
from resources.envelope import error_response, unexpected
from resources.errors import (
    BadInput,
    MalformedBody,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OrchestraError,
    TooLarge,
)
from resources.jsonio import read_json
from resources.limits.api import router as limits_router
from resources.notices.api import router as notices_router
from resources.people.api import router as people_router
from resources.people.grants_api import router as grants_router
from resources.people.me_api import router as me_router
from resources.people.token_api import router as tokens_router
from resources.proxies import address_of
from resources.receiving.api import router as receiving_router
from resources.resource_api import router as resources_router
from resources.secret_api import router as secrets_router
from resources.trail.api import router as audit_router
from resources.upload_api import router as uploads_router
from runs.api import router as runs_router
from runs.control_api import router as controls_router
from runs.dead.api import router as dead_router
from runs.flow_api import router as flow_runs_router
from runs.incoming.api import router as hooks_router
from runs.jobs.api import router as jobs_router
from runs.jobs.people_api import router as runners_router
from runs.named.api import router as named_router
from runs.outbound.api import router as events_router
from runs.schedules.api import router as schedules_router
from runs.search.api import router as search_router
from runs.sent_api import router as sent_router

SIGN_IN_HINT = "Send `Authorization: Bearer <token>`; `manage.py create_token USER` makes one."


class Bearer(HttpBearer):
    """A token; looked at first, so that a stale session never shadows it."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor | None:
        actor = tokens.authenticate(token, address=address_of(request))
        if actor is None:
            raise NotSignedIn("The token is unknown, expired or revoked.", code="bad_token", hint=SIGN_IN_HINT)
        return actor


class Session(APIKeyCookie):
    """A signed-in browser; changes need its CSRF token (header X-CSRFToken)."""

    param_name = settings.SESSION_COOKIE_NAME

    def _get_key(self, request: HttpRequest) -> str | None:
        # nobody signed in is 401; only then is a missing CSRF token worth its 403
        return super()._get_key(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Actor | None:
        return Actor.of(request) if request.user.is_authenticated else None


class BoundedParser(Parser):
    """JSON within limits, refused before anything looks at it."""

    def parse_body(self, request: HttpRequest) -> Any:
        return read_json(request.body, max_bytes=settings.MAX_BODY_BYTES)

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """Raises BadInput where a parameter of one value comes twice: the last would be taken for all of them."""
        twice = sorted(name for name, values in data.lists() if len(values) > 1 and name not in list_fields)
        if twice:
            raise BadInput(f"The parameter {twice[0][:40]!r} takes one value.", code="invalid_request")
        return super().parse_querydict(data, list_fields, request)


api = NinjaAPI(
    title="Orchestra",
    version="1",
    description="Flows, runs and approvals. Every error is `{error: {code, message, hint, details}}`.",
    auth=[Bearer(), Session(csrf=True)],
    parser=BoundedParser(),
    docs_url=None,
    urls_namespace="api",
)
ROUTERS = (
    bindings_router,
    flows_router, flow_runs_router, controls_router, runs_router, events_router, approvals_router, load_router,
    connections_router, limits_router, schedules_router, dead_router, named_router, resources_router, hooks_router,
    uploads_router, variables_router, secrets_router, audit_router, search_router,
    sent_router, templates_router, jobs_router, runners_router, notices_router, receiving_router,
    people_router, grants_router, me_router, tokens_router,
)  # fmt: skip
for router in ROUTERS:
    api.add_router("", router)


@api.exception_handler(OrchestraError)
def on_ours(request: HttpRequest, error: OrchestraError) -> HttpResponse:
    return error_response(error)


@api.exception_handler(ValidationError)
def on_shape(request: HttpRequest, error: ValidationError) -> HttpResponse:
    details = [{"path": _path(e["loc"]), "message": e["msg"].removeprefix("Value error, ")} for e in error.errors]
    return error_response(BadInput("The request has the wrong shape.", code="invalid_request", details=details))


@api.exception_handler(HttpError)
def on_http(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, OrchestraError):  # ninja wraps what the parser says
        return error_response(error.__cause__)
    if error.status_code == 401:
        return error_response(NotSignedIn("Nobody is signed in.", hint=SIGN_IN_HINT))
    if error.status_code == 403:
        return error_response(NotAllowed("The CSRF token is missing or wrong.", code="bad_csrf"))
    return error_response(MalformedBody(error.message))


@api.exception_handler(Http404)
def on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return error_response(NotFound("There is nothing at this address."))


@api.exception_handler(PermissionDenied)
def on_denied(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return error_response(NotAllowed("This is not allowed."))


@api.exception_handler(RequestDataTooBig)
def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return error_response(TooLarge(f"A body may have {settings.MAX_BODY_BYTES} bytes."))


@api.exception_handler(Exception)
def on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
    return error_response(unexpected(error))


def _path(location: tuple[Any, ...]) -> str:
    """("body", "body", "version") -> "/version": where in what was sent."""
    parts = [str(p) for p in location if p not in ("body", "response")]
    return "/" + "/".join(parts)
