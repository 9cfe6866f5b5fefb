"""Home, signing in, and the pages that say what went wrong."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from orchestra import home as presenter
from resources import attempts
from resources.access import Actor
from resources.envelope import error_response
from resources.errors import NotAllowed
from resources.ids import new_id
from resources.proxies import address_of
from resources.unavailable import Unavailable

log = logging.getLogger(__name__)
_sign_in = LoginView.as_view(redirect_authenticated_user=True)


@require_safe
@login_required
@never_cache
@vary_on_headers("HX-Request", "HX-Target")
def home(request: HttpRequest) -> HttpResponse:
    part = "home/_live.html" if request.headers.get("HX-Target") == "home-live" else "home/home.html"
    return render(request, part, {**presenter.home_page(Actor.of(request), time.time()), "section": "home"})


@never_cache
@sensitive_post_parameters("password")
def login(request: HttpRequest) -> HttpResponseBase:
    """Django's own sign-in, with at most ten failures a minute for a name from an address."""
    name, address = request.POST.get("username", ""), address_of(request)
    wait = attempts.seconds_to_wait(name, address, time.time()) if request.method == "POST" else 0
    if wait:
        page = {"wait": wait, "username": name}
        response = render(request, "registration/login.html", page, status=429)
        response["Retry-After"] = str(wait)
        return response
    answer = _sign_in(request, extra_context={"demo": settings.DEMO})
    if request.method == "POST" and answer.status_code == 200:
        attempts.note_failure(name, address, time.time())
    return answer


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _failed(request, 403, str(exception))


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was not sent by a page of this session; `reason` is for the log, and Django writes it there."""
    said = "Nothing was done: the page was opened before you signed in or out, or by another site."
    hint = "Go back, reload it, and try again."
    if request.headers.get("Accept", "").startswith("application/json"):
        return error_response(NotAllowed(said, hint=hint))
    return _failed(request, 403, f"{said} {hint}")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    return _failed(request, 404, reason)


def server_error(request: HttpRequest) -> HttpResponse:
    return _failed(request, 500, "")


def unavailable(request: HttpRequest, exception: Unavailable) -> HttpResponse:
    return _failed(request, 503, f"{exception.message} {exception.hint}")


def _failed(request: HttpRequest, status: int, reason: str) -> HttpResponse:
    """The page of an error. Its id is in the log, so that what a person copies can be found."""
    error_id = f"e-{new_id()[-10:]}"
    log.log(logging.ERROR if status >= 500 else logging.INFO, "%s %s answered %s", error_id, request.path, status)
    page = {"status": status, "reason": reason, "error_id": error_id}
    return render(request, "error.html", page, status=status)
