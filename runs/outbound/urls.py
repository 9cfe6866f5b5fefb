"""Pages of subscriptions, and the public schemas of events."""

from __future__ import annotations

from django.urls import path

from runs.outbound import views

urlpatterns = [
    path("subscriptions", views.subscription_list, name="subscriptions"),
    path("subscriptions/new", views.subscription_new, name="subscription-new"),
    path("subscriptions/<str:name>", views.subscription_page, name="subscription"),
    path("subscriptions/<str:name>/edit", views.subscription_edit, name="subscription-edit"),
    path("subscriptions/<str:name>/deliveries/<int:delivery_id>", views.delivery_page, name="subscription-delivery"),
    path("subscriptions/<str:name>/<str:verb>", views.subscription_do, name="subscription-do"),
    path("schemas/events", views.schema_list, name="event-schemas"),
    path("schemas/events/<str:name>.json", views.schema, name="event-schema"),
]
