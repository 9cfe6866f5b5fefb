"""Pages where flows are written. Listing and starting them needs runs: see runs.flow_urls."""

from __future__ import annotations

from django.urls import path

from flows import binding_views as bindings
from flows import variable_views as variables
from flows import views
from flows.template_views import template_page

urlpatterns = [
    path("variables", variables.variable_list, name="variables"),
    path("variables/new", variables.variable_edit, name="variable-new"),
    path("variables/<str:name>/edit", variables.variable_edit, name="variable"),
    path("variables/<str:name>/delete", variables.variable_delete, name="variable-delete"),
    path("flows/<str:flow>/variables/<str:name>/edit", variables.variable_edit, name="variable-of-flow"),
    path("flows/<str:flow>/variables/<str:name>/delete", variables.variable_delete, name="variable-of-flow-delete"),
    path("bindings", bindings.binding_list, name="bindings"),
    path("bindings/new", bindings.binding_edit, name="binding-new"),
    path("bindings/<str:name>/edit", bindings.binding_edit, name="binding"),
    path("bindings/<str:name>/delete", bindings.binding_delete, name="binding-delete"),
    path("flows/<str:flow>/bindings/<str:name>/edit", bindings.binding_edit, name="binding-of-flow"),
    path("flows/<str:flow>/bindings/<str:name>/delete", bindings.binding_delete, name="binding-of-flow-delete"),
    path("flows/new", views.new_flow, name="flow-new"),
    path("flows/check", views.check_source, name="flow-check"),
    path("flows/schema.json", views.schema, name="flow-schema"),
    path("flows/<str:slug>/edit", views.edit_flow, name="flow-edit"),
    path("flows/<str:slug>/releases", views.release_flow, name="flow-release"),
    path("flows/<str:slug>/live", views.make_live, name="flow-live"),
    path("flows/templates/<str:name>", template_page, name="flow-template"),
]
