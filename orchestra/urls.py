"""All addresses of the product."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path

from orchestra import load, views
from orchestra.api import api
from orchestra.health import healthz, readyz

handler403 = "orchestra.views.forbidden"
handler404 = "orchestra.views.not_found"
handler500 = "orchestra.views.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("", views.home, name="home"),
    path("login", views.login, name="login"),
    path("system", load.system, name="system"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("", include("runs.urls")),
    path("", include("runs.outbound.urls")),
    path("", include("runs.search.urls")),
    path("", include("runs.dead.urls")),
    path("", include("runs.jobs.urls")),
    path("", include("approvals.urls")),
    path("api/v1/", api.urls),
    path("", include("runs.urls_hooks")),
    path("", include("flows.urls")),
    path("", include("runs.flow_urls")),
    path("", include("runs.schedules.urls")),
    path("", include("resources.urls")),
]
