"""Pages of runners."""

from __future__ import annotations

from django.urls import path

from runs.jobs import views

urlpatterns = [
    path("runners", views.runner_list, name="runners"),
    path("runners/tokens", views.token_new, name="runner-token-new"),
    path("runners/tokens/<int:token_id>/revoke", views.token_revoke, name="runner-token-revoke"),
]
