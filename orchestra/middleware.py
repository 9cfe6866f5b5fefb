"""Middleware of the composition root."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]


def fast_lane(get_response: Handler) -> Handler:
    return get_response


def errors(get_response: Handler) -> Handler:
    return get_response
