"""Pages of runs."""

from __future__ import annotations

from django.urls import path

from runs import views

urlpatterns = [
    path("runs", views.run_list, name="runs"),
    path("runs/bulk", views.bulk_control, name="runs-bulk"),
    path("runs/<str:run_id>", views.run_page, name="run"),
    path("runs/<str:run_id>/reveal", views.reveal, name="run-reveal"),
    path("runs/<str:run_id>/<str:verb>", views.control, name="run-control"),
]
