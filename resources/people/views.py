"""Pages of people, groups, and of who may do what on a folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from resources import grants
from resources.access import Actor, require
from resources.errors import BadInput, Conflict, NotFound, OrchestraError
from resources.models import Role
from resources.people import accounts, groups, listing
from resources.people.rules import ACTIONS

SECTION: Final = {"section": "people"}


def said(error: OrchestraError) -> str:
    return f"{error.message} {error.hint}".strip()


@require_safe
@login_required
@never_cache
def people_list(request: HttpRequest) -> HttpResponse:
    return _list(request)


def _list(request: HttpRequest, error: str = "", status: int = 200) -> HttpResponse:
    actor = Actor.of(request)
    search, after = request.GET.get("q", "").strip()[:100], request.GET.get("after", "")
    rows, more = listing.people(actor, search=search, after=after)
    page: dict[str, Any] = {
        "rows": rows, "q": search, "next": rows[-1].user.username if more else "", "error": error,
        "manages": listing.may_manage(actor), "sent": request.POST, **SECTION,
    }  # fmt: skip
    return render(request, "people/list.html", page, status=status)


@require_POST
@login_required
@never_cache
def person_new(request: HttpRequest) -> HttpResponse:
    """The page shows the link: it is in no address of ours, no session and no later answer."""
    sent = {key: request.POST.get(key, "").strip() for key in ("name", "email", "full_name", "reason")}
    try:
        user = accounts.invite_person(actor=Actor.of(request), **sent)
    except (BadInput, Conflict) as error:
        return _list(request, said(error), error.status)
    page = {"person": user, "link": accounts.link_for(user), "new": True, **SECTION}
    return render(request, "people/link.html", page)


@require_safe
@login_required
@never_cache
def person(request: HttpRequest, name: str) -> HttpResponse:
    actor = Actor.of(request)
    listing.require_some_admin(actor)
    row = listing.row_of(actor, accounts.find(name))
    page = {
        "row": row, "manages": listing.may_manage(actor), "own": actor.name == name, "roles": Role.values,
        "folders": listing.folders_known(actor), **SECTION,
    }  # fmt: skip
    return render(request, "people/person.html", page)


@require_POST
@login_required
@never_cache
def person_edit(request: HttpRequest, name: str) -> HttpResponse:
    email, full_name = request.POST.get("email", ""), request.POST.get("full_name", "")
    _tried(
        request, lambda: accounts.change_person(actor=Actor.of(request), name=name, email=email, full_name=full_name),
        "Saved.",
    )  # fmt: skip
    return redirect("person", name)


_DONE: Final = {
    "deactivate": "{} is switched off: signed out everywhere, tokens ended.",
    "reactivate": "{} may sign in again.",
    "sign-out": "{} is signed out everywhere.",
}


@require_POST
@login_required
@never_cache
def person_do(request: HttpRequest, name: str, verb: str) -> HttpResponse:
    actor, reason = Actor.of(request), request.POST.get("reason", "").strip()
    if verb == "reset":
        return _reset(request, name, reason)
    acts: dict[str, Callable[[], object]] = {
        "deactivate": lambda: accounts.deactivate_person(actor=actor, name=name, reason=reason),
        "reactivate": lambda: accounts.reactivate_person(actor=actor, name=name, reason=reason),
        "sign-out": lambda: accounts.sign_out_person(
            actor=actor, name=name, reason=reason, tokens="tokens" in request.POST
        ),
    }
    if verb not in acts:
        raise NotFound("There is nothing at this address.")
    _tried(request, acts[verb], _DONE[verb].format(name))
    return redirect("person", name)


def _reset(request: HttpRequest, name: str, reason: str) -> HttpResponse:
    try:
        user = accounts.reset_person(actor=Actor.of(request), name=name, reason=reason)
    except (BadInput, Conflict) as error:
        messages.error(request, said(error))
        return redirect("person", name)
    return render(request, "people/link.html", {"person": user, "link": accounts.link_for(user), **SECTION})


def _tried(request: HttpRequest, act: Callable[[], object], done: str) -> None:
    """What the person can mend is told on the page they come back to; all else is a page of its own."""
    try:
        act()
    except (BadInput, Conflict) as error:
        messages.error(request, said(error))
    else:
        messages.success(request, done)


# -- roles -------------------------------------------------------------------------------------------------------------
@require_POST
@login_required
@never_cache
def role_give(request: HttpRequest) -> HttpResponse:
    actor, sent = Actor.of(request), {key: str(value).strip() for key, value in request.POST.items()}
    user, group, folder = sent.get("user", ""), sent.get("group", ""), sent.get("folder", "").strip("/")
    require(actor, Role.ADMIN, grants.check_folder(folder))  # before names are looked up

    def give() -> None:
        whom: dict[str, Any] = {"user": accounts.find(user)} if user else {"group": groups.find(group)}
        grants.grant_role(actor=actor, role=sent.get("role", ""), folder=folder, reason=sent.get("reason", ""), **whom)

    _tried(request, give, f"{user or group} is {sent.get('role', '')} on {folder or 'everything'}.")
    return _back(request, user, group)


@require_POST
@login_required
@never_cache
def role_take(request: HttpRequest, grant_id: int) -> HttpResponse:
    reason = request.POST.get("reason", "").strip()
    _tried(
        request, lambda: grants.revoke_grant(actor=Actor.of(request), grant_id=grant_id, reason=reason),
        "The role was taken back.",
    )  # fmt: skip
    return _back(request, request.POST.get("user", ""), request.POST.get("group", ""))


def _back(request: HttpRequest, user: str, group: str) -> HttpResponse:
    if user:
        return redirect("person", user)
    return redirect("groups") if group else redirect("access")


@require_safe
@login_required
@never_cache
def access_table(request: HttpRequest) -> HttpResponse:
    """Who may do what on a folder, and which grants say so."""
    actor, folder = Actor.of(request), request.GET.get("folder", "").strip().strip("/")
    listing.require_some_admin(actor)
    known = listing.folders_known(actor)
    if "folder" not in request.GET and not listing.may_manage(actor):
        folder = known[0] if known else folder
    page: dict[str, Any] = {"folder": folder, "folders": known, "titles": [t for _, t in ACTIONS.values()], "lines": []}
    status = 200
    try:
        page["lines"] = listing.on_folder(actor, folder)
    except OrchestraError as error:
        page["error"], status = said(error), error.status
    return render(request, "people/access.html", {**page, **SECTION}, status=status)


# -- groups ------------------------------------------------------------------------------------------------------------
@require_safe
@login_required
@never_cache
def group_list(request: HttpRequest) -> HttpResponse:
    actor = Actor.of(request)
    page = {
        "groups": listing.groups(actor), "manages": listing.may_manage(actor), "roles": Role.values,
        "folders": listing.folders_known(actor), **SECTION,
    }  # fmt: skip
    return render(request, "people/groups.html", page)


@require_POST
@login_required
@never_cache
def group_new(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "").strip()
    _tried(request, lambda: groups.create_group(actor=Actor.of(request), name=name), f"{name} added.")
    return redirect("groups")


@require_POST
@login_required
@never_cache
def group_delete(request: HttpRequest, name: str) -> HttpResponse:
    reason = request.POST.get("reason", "").strip()
    _tried(request, lambda: groups.delete_group(actor=Actor.of(request), name=name, reason=reason), f"{name} deleted.")
    return redirect("groups")


@require_POST
@login_required
@never_cache
def member_add(request: HttpRequest, name: str) -> HttpResponse:
    """Whom it is about is typed: a name that nobody has is told, not a page of its own."""
    actor, member = Actor.of(request), request.POST.get("member", "").strip()
    if listing.may_manage(actor) and not accounts.is_there(member):
        messages.error(request, f"There is nobody called {member[:40]!r}.")
        return redirect("groups")
    _tried(request, lambda: groups.add_member(actor=actor, name=name, member=member), f"{member} is in {name}.")
    return redirect("groups")


@require_POST
@login_required
@never_cache
def member_remove(request: HttpRequest, name: str, member: str) -> HttpResponse:
    _tried(
        request, lambda: groups.remove_member(actor=Actor.of(request), name=name, member=member),
        f"{member} is not in {name} any more.",
    )  # fmt: skip
    return redirect("groups")
