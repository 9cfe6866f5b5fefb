"""Pages of oneself: password, sessions, roles, tokens; and the page that an invitation leads to."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from resources import tokens
from resources.access import Actor
from resources.errors import BadInput, Gone, OrchestraError, TooMany
from resources.models import Role
from resources.people import accounts, listing, own
from resources.proxies import address_of

SECTION: Final = {"section": "account"}


@require_safe
@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    return _account(request)


def _account(request: HttpRequest, error: str = "", status: int = 200) -> HttpResponse:
    actor = Actor.of(request)
    row = listing.row_of(actor, actor.user)
    sessions = actor.user.sessions.filter(expire_date__gt=timezone.now()).count()
    page = {"row": row, "error": error, "others": max(0, sessions - 1), **SECTION}
    return render(request, "people/account.html", page, status=status)


@sensitive_post_parameters()
@require_POST
@login_required
@never_cache
def password(request: HttpRequest) -> HttpResponse:
    sent = {key: request.POST.get(key, "") for key in ("current", "password", "again")}
    try:
        if sent["password"] != sent.pop("again"):
            raise BadInput("The two new passwords differ.")
        user = own.change_password(
            actor=Actor.of(request), session=request.session.session_key, now=time.time(), **sent
        )
    except (BadInput, TooMany) as error:
        return _account(request, f"{error.message} {error.hint}".strip(), error.status)
    update_session_auth_hash(request, user)
    messages.success(request, "Your password is changed, and you are signed out everywhere else.")
    return redirect("account")


@require_POST
@login_required
@never_cache
def sign_out_elsewhere(request: HttpRequest) -> HttpResponse:
    accounts.sign_out_elsewhere(actor=Actor.of(request), session=request.session.session_key)
    messages.success(request, "You are signed out everywhere else.")
    return redirect("account")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Choose a password. Whoever is signed in here stays so: the link is for the person it names."""
    page: dict[str, Any] = {"error": ""}
    status = 200
    try:
        page["person"] = accounts.invited(uid, token)
        if request.method == "POST":
            if request.POST.get("password", "") != request.POST.get("again", ""):
                raise BadInput("The two passwords differ.")
            accounts.accept_invitation(
                uid=uid, token=token, password=request.POST.get("password", ""), address=address_of(request)
            )
            messages.success(request, "Your password is set. Sign in with it.")
            return redirect("login")
    except (BadInput, Gone) as error:
        page["error"], status = f"{error.message} {error.hint}".strip(), error.status
    answer = render(request, "registration/invitation.html", page, status=status)
    # the address is the proof. Not no-referrer: browsers then send the form with `Origin: null`, which is refused
    answer["Referrer-Policy"] = "strict-origin"
    return answer


# -- tokens ------------------------------------------------------------------------------------------------------------
@require_safe
@login_required
@never_cache
def token_list(request: HttpRequest) -> HttpResponse:
    return _tokens(request)


def _tokens(request: HttpRequest, error: str = "", status: int = 200) -> HttpResponse:
    actor, now = Actor.of(request), timezone.now()
    page = {
        "mine": tokens.own(actor, now), "others": tokens.of_others(actor, now), "error": error, "roles": Role.values,
        "today": now, "soon": now + timedelta(days=7), "days": settings.TOKEN_DAYS,
        "most": settings.TOKEN_MAX_DAYS or tokens.MAX_DAYS, "sent": request.POST, "section": "tokens",
    }  # fmt: skip
    return render(request, "people/tokens.html", page, status=status)


@require_POST
@login_required
@never_cache
def token_new(request: HttpRequest) -> HttpResponse:
    """The page shows the token: it is in no address, no session and no later answer."""
    actor = Actor.of(request)
    try:
        token, plain = tokens.create_token(
            actor=actor, user=actor.user, name=request.POST.get("name", "").strip(), days=_days(request),
            scopes=request.POST.get("scopes", "").replace(",", " ").split(),
        )  # fmt: skip
    except BadInput as error:
        return _tokens(request, f"{error.message} {error.hint}".strip(), 422)
    page = {"token": token, "plain": plain, "url": settings.PUBLIC_URL, "section": "tokens"}
    return render(request, "people/token.html", page)


def _days(request: HttpRequest) -> int | None:
    text = request.POST.get("days", "").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise BadInput("Say in whole days how long it lives.")
    return int(text) if text else None


@require_POST
@login_required
@never_cache
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    try:
        token = tokens.revoke_token(actor=Actor.of(request), token_id=token_id)
    except OrchestraError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{token.name} revoked.")
    return redirect("tokens")
