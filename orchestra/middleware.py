"""Middleware of the composition root."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from resources.envelope import error_response
from resources.errors import MalformedBody, MethodNotAllowed, NotAllowed, NotFound, OrchestraError, TooLarge

Handler = Callable[[HttpRequest], HttpResponse]
FAST = ("/hooks/", "/callbacks/")
FOR_PROGRAMS = ("/api/", *FAST)
_BY_STATUS: dict[int, OrchestraError] = {
    400: MalformedBody("The request cannot be read."),
    403: NotAllowed("This is not allowed."),
    404: NotFound("There is nothing at this address.", hint="GET /api/v1/openapi.json lists all addresses."),
    405: MethodNotAllowed("This address does not take this method."),
    413: TooLarge("The body is too large."),
}


def fast_lane(get_response: Handler) -> Handler:
    """Hooks and callbacks skip the rest of the stack: they use no session, no CSRF, no page's headers."""

    def handle(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(FAST):
            return get_response(request)
        try:
            view, args, kwargs = resolve(request.path_info)
        except Resolver404:
            return error_response(NotFound("There is nothing at this address."))
        response: HttpResponse = view(request, *args, **kwargs)
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return handle


def errors(get_response: Handler) -> Handler:
    """What Django itself refuses below /api/ (404, 405, …) gets the envelope of all other errors."""

    def handle(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code < 400 or not request.path_info.startswith(FOR_PROGRAMS):
            return response
        error = _BY_STATUS.get(response.status_code)
        if error is None or response.get("Content-Type", "").startswith("application/json"):
            return response
        wrapped = error_response(error)
        if response.has_header("Allow"):
            wrapped["Allow"] = response["Allow"]
        return wrapped

    return handle
