"""Addresses of people, groups, roles, tokens, and of oneself."""

from __future__ import annotations

from django.urls import path

from resources.people import own_views as own
from resources.people import views as people

urlpatterns = [
    path("people", people.people_list, name="people"),
    path("people/new", people.person_new, name="person-new"),
    path("people/<str:name>", people.person, name="person"),
    path("people/<str:name>/edit", people.person_edit, name="person-edit"),
    path("people/<str:name>/<str:verb>", people.person_do, name="person-do"),
    path("access", people.access_table, name="access"),
    path("access/roles", people.role_give, name="role-give"),
    path("access/roles/<int:grant_id>/remove", people.role_take, name="role-take"),
    path("groups", people.group_list, name="groups"),
    path("groups/new", people.group_new, name="group-new"),
    path("groups/<str:name>/delete", people.group_delete, name="group-delete"),
    path("groups/<str:name>/members", people.member_add, name="member-add"),
    path("groups/<str:name>/members/<str:member>/remove", people.member_remove, name="member-remove"),
    path("account", own.account, name="account"),
    path("account/password", own.password, name="password"),
    path("account/sign-out", own.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("tokens", own.token_list, name="tokens"),
    path("tokens/new", own.token_new, name="token-new"),
    path("tokens/<int:token_id>/revoke", own.token_revoke, name="token-revoke"),
    path("invitations/<str:uid>/<str:token>", own.invitation, name="invitation"),
]
