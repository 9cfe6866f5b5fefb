"""All addresses of the product."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from orchestra.api import api
from orchestra.health import healthz, readyz

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("api/v1/", api.urls),
    path("", include("runs.urls_hooks")),
    path("", include("flows.urls")),
    path("", include("runs.flow_urls")),
    path("", include("resources.urls")),
]
