"""Addresses of connections, secrets and resources."""

from __future__ import annotations

from django.urls import include, path

from resources import connection_views as connections
from resources import resource_views as pages
from resources import secret_views as secrets
from resources.limits import views as limits
from resources.notices import views as notices
from resources.receiving import views as receiving
from resources.trail import views as trail

urlpatterns = [
    path("", include("resources.people.urls")),
    path("notices", notices.notice_list, name="notices"),
    path("notices/read", notices.notices_read, name="notices-read"),
    path("notices/settings", notices.notice_settings, name="notice-settings"),
    path("notices/<int:notice_id>/read", notices.notice_read, name="notice-read"),
    path("connections", connections.connection_list, name="connections"),
    path("connections/new", connections.connection_kinds, name="connection-kinds"),
    path("connections/new/<str:kind>", connections.connection_new, name="connection-new"),
    path("connections/<str:name>/edit", connections.connection_edit, name="connection-edit"),
    path("connections/<str:name>/limits", limits.limits_page, name="connection-limits"),
    path("connections/<str:name>/circuit/open", limits.circuit, {"to": "open"}, name="circuit-open"),
    path("connections/<str:name>/circuit/close", limits.circuit, {"to": "close"}, name="circuit-close"),
    path("connections/<str:name>/test", connections.connection_test, name="connection-test"),
    path("connections/<str:name>/delete", connections.connection_delete, name="connection-delete"),
    path("secrets", secrets.secret_list, name="secrets"),
    path("secrets/new", secrets.secret_new, name="secret-new"),
    path("secrets/new/elsewhere", secrets.secret_elsewhere, name="secret-new-elsewhere"),
    path("secrets/new/quick", secrets.secret_quick, name="secret-quick"),
    path("secrets/<str:name>/edit", secrets.secret_edit, name="secret-edit"),
    path("secrets/<str:name>/elsewhere", secrets.secret_elsewhere, name="secret-elsewhere"),
    path("secrets/<str:name>/reminder", secrets.secret_reminder, name="secret-reminder"),
    path("secrets/<str:name>/test", secrets.secret_test, name="secret-test"),
    path("secrets/<str:name>/versions/<int:version>/revoke", secrets.secret_revoke, name="secret-revoke"),
    path("secrets/<str:name>/versions/<int:version>/restore", secrets.secret_restore, name="secret-restore"),
    path("secrets/<str:name>/delete", secrets.secret_delete, name="secret-delete"),
    path("audit", trail.entry_list, name="audit"),
    path("audit/check", trail.check, name="audit-check"),
    path("audit/export.<str:kind>", trail.export, name="audit-export"),
    path("audit/<int:seq>", trail.entry, name="audit-entry"),
    path("resources", pages.resource_list, name="resources"),
    path("resources/upload", pages.upload, name="resource-upload"),
    path("resources/upload-links", receiving.upload_links, name="upload-links"),
    path("resources/upload-links/<str:link_id>/revoke", receiving.revoke, name="upload-link-revoke"),
    path("resources/<str:artifact_id>", pages.resource, name="resource"),
    path("resources/<str:artifact_id>/download", pages.download, name="resource-download"),
    path("resources/<str:artifact_id>/image", pages.image, name="resource-image"),
    path("resources/<str:artifact_id>/change", pages.change, name="resource-change"),
    path("resources/<str:artifact_id>/delete", pages.delete, name="resource-delete"),
    path("resources/<str:artifact_id>/link", pages.link, name="resource-link"),
    path("resources/<str:artifact_id>/revoke", pages.revoke, name="resource-revoke"),
    path("shared/<str:token>", pages.shared, name="resource-shared"),
]
