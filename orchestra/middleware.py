"""Middleware of the composition root."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, get_resolver, resolve

from orchestra import views
from resources.envelope import error_response
from resources.errors import MalformedBody, MethodNotAllowed, NotAllowed, NotFound, OrchestraError, TooLarge
from resources.unavailable import Unavailable, unavailable

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
    """Every refusal in the shape its caller reads: the envelope for programs and scripts, a page for people.

    That holds for what Django itself refuses below /api/ (404, 405, …), and for the errors that views let through.
    """

    def handle(request: HttpRequest) -> HttpResponse:
        if _has_nul(request):
            return _shown(request, MalformedBody("An address or a form may not hold the character U+0000."))
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

    handle.process_exception = _refusal  # type: ignore[attr-defined]  # Django looks for it on the handler
    return handle


def _has_nul(request: HttpRequest) -> bool:
    """PostgreSQL stores and looks for no U+0000; nobody sends one by accident."""
    if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
        return True
    return request.content_type == "application/x-www-form-urlencoded" and b"%00" in request.body


def _refusal(request: HttpRequest, error: Exception) -> HttpResponse | None:
    if isinstance(error, OrchestraError):
        return _shown(request, error)
    away = unavailable(error)
    return None if away is None else _shown(request, away)


def _shown(request: HttpRequest, error: OrchestraError) -> HttpResponse:
    if request.path_info.startswith(FOR_PROGRAMS) or request.headers.get("Accept", "").startswith("application/json"):
        return error_response(error)
    if error.status == 401:
        return redirect_to_login(request.get_full_path())
    if isinstance(error, Unavailable):
        return views.unavailable(request, error)
    show: Callable[..., HttpResponse] = get_resolver().resolve_error_handler(404 if error.status == 404 else 403)
    page = show(request, error)
    page.status_code = error.status
    return page
