"""Pages of flows that show or start runs; included after flows.urls, whose fixed names come first."""

from __future__ import annotations

from django.urls import path

from runs import flow_views

urlpatterns = [
    path("flows", flow_views.flow_list, name="flows"),
    path("flows/<str:slug>", flow_views.show_flow, name="flow"),
    path("flows/<str:slug>/start", flow_views.start_flow, name="flow-start"),
    path("flows/<str:slug>/pause", flow_views.gate, {"verb": "pause"}, name="flow-pause"),
    path("flows/<str:slug>/resume", flow_views.gate, {"verb": "resume"}, name="flow-resume"),
]
