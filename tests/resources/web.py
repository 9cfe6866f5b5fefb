"""The pages of this layer alone: no frame, no other app's addresses; errors answered by their own status."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from resources.errors import OrchestraError


class ErrorsAsStatus:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return JsonResponse(error.to_json(), status=error.status) if isinstance(error, OrchestraError) else None


def login(request: HttpRequest) -> HttpResponse:
    return HttpResponse("sign in")


urlpatterns: list[URLPattern | URLResolver] = [path("login", login, name="login"), path("", include("resources.urls"))]
