"""Pages of approvals."""

from __future__ import annotations

from django.urls import path

from approvals import views

urlpatterns = [
    path("inbox", views.inbox, name="inbox"),
    path("approvals/<str:request_id>", views.approval, name="approval"),
    path("approvals/<str:request_id>/decide", views.decide, name="approval-decide"),
    path("approvals/<str:request_id>/effect", views.effect, name="approval-effect"),
]
