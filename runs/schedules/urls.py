"""Pages of schedules."""

from __future__ import annotations

from django.urls import path

from runs.schedules import views

urlpatterns = [
    path("schedules", views.schedule_list, name="schedules"),
    path("flows/<str:slug>/schedules/<str:name>", views.show_schedule, name="schedule"),
    path("flows/<str:slug>/schedules/<str:name>/<str:verb>", views.control, name="schedule-control"),
]
