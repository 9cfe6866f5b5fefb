"""Addresses for programs that call in; see runs.hooks."""

from __future__ import annotations

from django.urls import path

from runs import hooks

urlpatterns = [
    path("hooks/<str:slug>/<str:trigger>", hooks.hook, name="hook"),
    path("callbacks/<str:token>", hooks.callback, name="callback"),
]
