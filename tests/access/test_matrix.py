"""Every operation of the API and every form of the pages, tried with every role, granted everywhere and elsewhere."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_save
from django.http import HttpResponse
from django.test import Client
from django.test.client import ClientHandler
from django.urls import get_resolver

from orchestra.api import api as api_root
from resources.access import Actor
from resources.errors import NotAllowed, NotFound, OrchestraError
from resources.models import AuditEntry, Grant
from resources.tokens import create_token
from tests.access import place as stage

pytestmark = [pytest.mark.db_matrix, pytest.mark.django_db]
ROW: Final = re.compile(r"\| ((?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+) \| ([a-z ]+?) \| ([a-z]*) ?\|")
#: take a POST without a role
OPEN: Final = {
    "POST /login",
    "POST /logout",
    "POST /hooks/<slug>/<trigger>",
    "POST /callbacks/<token>",
    "POST /invitations/<uid>/<token>",
}
#: what a role may, written down anew: the product is compared with this, not with itself
HOLDS: Final[Mapping[str, frozenset[str]]] = {
    "none": frozenset(),
    "viewer": frozenset({"viewer"}),
    "author": frozenset({"viewer", "author"}),
    "operator": frozenset({"viewer", "operator"}),
    "reviewer": frozenset({"viewer", "reviewer"}),
    "revealer": frozenset({"viewer", "revealer"}),
    "admin": frozenset({"viewer", "author", "operator", "reviewer", "revealer", "admin"}),
}
WHERE: Final = {"everything": "", "above": "pay", "folder": "pay/eu", "below": "pay/eu/deep", "beside": "pay/e"}
REACHES: Final = {"everything", "above", "folder"}


def read_table() -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Operation -> (needs, on), of the API and of the pages."""
    first, _, second = (settings.BASE_DIR / "docs/access.md").read_text().partition("## Pages")
    return _rows(first), _rows(second)


def _rows(text: str) -> dict[str, tuple[str, str]]:
    found = [(op, (needs, on)) for op, needs, on in ROW.findall(text)]
    assert len(found) == len(dict(found)), "a row is there twice"
    return dict(found)


API, PAGES = read_table()


def operations() -> set[str]:
    found = set()
    for before, router in api_root._routers:
        for path, view in router.path_operations.items():
            address = re.sub(r"{[a-z]+:", "{", before + path)
            found |= {f"{method} {address}" for operation in view.operations for method in operation.methods}
    return found


def forms() -> set[str]:
    found = set()
    for address, view in _views(get_resolver().url_patterns, ""):
        if "api/v1" not in address and "POST" in _methods(view):
            found.add("POST /" + re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"<\1>", address))
    return found


def _views(patterns: Any, before: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        address = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _views(pattern.url_patterns, address)
        else:
            yield address, pattern.callback


def _methods(view: Any) -> list[str]:
    """What `require_http_methods` lets through; everything, where a view does not say."""
    while view is not None:
        inside = inspect.getclosurevars(view).nonlocals if inspect.isfunction(view) else {}
        if "request_method_list" in inside:
            return list(inside["request_method_list"])
        view = getattr(view, "__wrapped__", None)
    return ["POST"]


def test_the_table_has_a_row_for_every_operation_and_no_other() -> None:
    there = operations()
    assert {"missing": there - set(API), "gone": set(API) - there} == {"missing": set(), "gone": set()}
    there = forms() - OPEN
    assert {"missing": there - set(PAGES), "gone": set(PAGES) - there} == {"missing": set(), "gone": set()}


def expected(needs: str, on: str, role: str, where: str) -> bool:
    if needs in ("anybody", "owner", "runner"):
        return needs == "anybody"
    if needs == "some role":
        return role != "none"
    if not any(wanted in HOLDS[role] for wanted in needs.split(" or ")):
        return False
    return on == "any" or where == "everything" or (on in ("folder", "listed", "unseen") and where in REACHES)


class Desk:
    """What is made once for all tries: Django's stack of middleware, and who counts entries of the audit log."""

    def __init__(self) -> None:
        self.handler = ClientHandler(enforce_csrf_checks=False)
        self.handler.load_middleware()
        self.noted = 0

    def client(self) -> Client:
        client = Client(raise_request_exception=False)
        client.handler = self.handler
        return client

    def enter(self, user: User) -> Client:
        client = self.client()
        client.force_login(user)
        return client

    def note(self, **_: Any) -> None:
        self.noted += 1


@dataclass
class Cast:
    place: stage.Place
    desk: Desk
    people: dict[tuple[str, str], Client]
    tokens: dict[tuple[str, str], dict[str, str]]
    owner: Client
    refused: list[OrchestraError]


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Made once; each try is rolled back."""
    patch = pytest.MonkeyPatch()
    refused: list[OrchestraError] = []
    plain = OrchestraError.__init__

    def noting(self: OrchestraError, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        if isinstance(self, NotAllowed | NotFound):
            refused.append(self)

    with django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(settings, "MEDIA_ROOT", tmp_path_factory.mktemp("files"))
        # a session in its cookie needs no row; what a role may does not depend on where it is kept
        patch.setattr(settings, "SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies")
        # the page of an error tells nothing more than its status and its sentence, and takes as long as all the rest
        patch.setattr("orchestra.views.render", lambda _, __, page, status: HttpResponse(page["reason"], status=status))
        made, desk = stage.build(), Desk()
        post_save.connect(desk.note, sender=AuditEntry)
        patch.setattr(OrchestraError, "__init__", noting)
        root = User.objects.get(username="root")
        yield Cast(made, desk, dict(_people(desk)), dict(_tokens(root)), desk.enter(root), refused)
        post_save.disconnect(desk.note, sender=AuditEntry)
        patch.undo()
        transaction.set_rollback(True)


def _people(desk: Desk) -> Iterator[tuple[tuple[str, str], Client]]:
    yield ("none", "nowhere"), desk.enter(User.objects.create_user("nobody"))
    for role in [role for role in HOLDS if role != "none"]:
        for where, folder in WHERE.items():
            user = User.objects.create_user(f"{role}-{where}")
            Grant.objects.create(user=user, role=role, folder=folder)
            yield (role, where), desk.enter(user)


def _tokens(root: User) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Of an admin of everything, narrowed; and one of somebody who is a viewer by now."""
    for role, where in (("viewer", "folder"), ("author", "folder"), ("operator", "above"), ("reviewer", "everything"),
                        ("admin", "beside"), ("admin", "below"), ("admin", "folder")):  # fmt: skip
        yield (role, where), _bearer(root, f"{role}:{WHERE[where]}")
    viewer = User.objects.get(username="viewer-everything")
    lifted = Grant.objects.create(user=viewer, role="admin")
    yield ("viewer", "everything"), _bearer(viewer, "admin")
    lifted.delete()  # the token was made before that


def _bearer(user: User, scope: str) -> dict[str, str]:
    _, plain = create_token(actor=Actor.system("tests"), user=user, name=scope, scopes=[scope.rstrip(":")])
    return {"Authorization": f"Bearer {plain}"}


def tried(cast: Cast, send: Callable[[], Any], granted: Callable[[bytes], bool] | None) -> tuple[bool, str]:
    """(was it let through, what was answered); nothing of it stays."""
    cast.desk.noted = 0
    cast.refused.clear()
    with transaction.atomic():
        answer = send()
        noted = cast.desk.noted
        transaction.set_rollback(True)
    told = f"{answer.status_code} {'; '.join(error.message for error in cast.refused)}"
    if answer.status_code in (400, 405, 415, 428) or answer.status_code >= 500:
        return False, f"{told}: not a request that shows anything {answer.content[:200]!r}"
    through = answer.status_code not in (401, 403, 404) and (granted is not None or not cast.refused)
    if through and granted is not None:
        said = answer.content + answer.get("Location", "").encode() + (b" audited" if noted else b"")
        through = answer.status_code < 400 and granted(said)
    assert through or noted == 0, f"{told}: refused, but the audit log has {noted} more entries"
    return through, told


def wrong(
    cast: Cast, row: tuple[str, str], tries: Iterator[tuple[str, str, str, Callable[[], Any], Any]], *, hides: bool
) -> list[str]:
    """`hides`: the address names an object of the folder."""
    found = []
    for how, role, where, send, granted in tries:
        if not _tells(row, role, where):
            continue
        through, told = tried(cast, send, granted)
        if hides and not through and _shows(cast.refused) == _hidden(role, where):
            found.append(f"{role} on {where} ({how}): what one may not view is not there, the rest is refused: {told}")
        if through != expected(*row, role, where) or "shows anything" in told:
            found.append(f"{role} on {where} ({how}): {'let through' if through else 'refused'}: {told}")
    return found


def _shows(refused: list[OrchestraError]) -> bool:
    return not refused or not isinstance(refused[0], NotFound)


def _hidden(role: str, where: str) -> bool:
    return role == "none" or where not in REACHES


def _tells(row: tuple[str, str], role: str, where: str) -> bool:
    """Every role on the folder itself and on everything; on the other folders the roles that would do, and admin."""
    needs = row[0].split(" or ")
    return where in ("folder", "everything", "nowhere") or role in needs or (role == "admin" and where == "below")


def _names(cast: Cast, operation: str) -> stage.Place:
    """The place with what `{name}` means at this address."""
    words = operation.split("/")
    name = next((stage.OF_FLOWS[word] for word in words if words[1] == "flows" and word in stage.OF_FLOWS), "")
    name = name or stage.NAMES.get(words[1], "")
    names = {**cast.place.names, "name": name, "kind": "http"}
    if words[1] == "subscriptions" or "schedules" in words:
        names["verb"] = "pause"
    if words[1] == "people":
        names["verb"] = "sign-out"
    if words[1] in ("runners", "runner-tokens"):
        names["token_id"] = names["runner_token_id"]
    return stage.Place(names)


def _hides(on: str, address: str) -> bool:
    return on == "folder" and re.search("[{<]", address) is not None


@pytest.mark.parametrize("operation", sorted(API))
def test_of_the_api_each_role_may_what_the_table_says(cast: Cast, operation: str) -> None:
    (method, address), (needs, on) = operation.split(" "), API[operation]
    place = _names(cast, operation)
    ask = stage.api(place).get(operation, stage.Ask("", None if method in ("GET", "DELETE") else {}))
    path = "/api/v1" + place.path(address) + ask.path
    body = ask.body if isinstance(ask.body, str | bytes) else "" if ask.body is None else json.dumps(ask.body)

    def send(client: Client, headers: dict[str, str]) -> Callable[[], Any]:
        kept = {**headers, "If-Match": '"1"'}
        return lambda: client.generic(method, path, body, content_type=ask.kind, headers=kept)

    stranger = cast.desk.client()

    def tries() -> Iterator[tuple[str, str, str, Callable[[], Any], Any]]:
        for (role, where), client in cast.people.items():
            yield "session", role, where, send(client, {}), ask.granted
        for (role, where), headers in cast.tokens.items() if needs != "owner" else ():
            yield "token", role, where, send(stranger, headers), ask.granted

    assert wrong(cast, (needs, on), tries(), hides=_hides(on, address)) == []
    if needs == "owner":
        assert tried(cast, send(cast.owner, {}), None)[0]
    through, told = tried(cast, send(stranger, place.names["runner"]), None)
    assert through == (needs == "runner"), told
    if needs == "runner" and "{" in address:
        assert tried(cast, send(stranger, place.names["other_runner"]), None)[1].startswith("404 ")


@pytest.mark.parametrize("form", sorted(PAGES))
def test_of_the_pages_each_role_may_what_the_table_says(cast: Cast, form: str) -> None:
    place = _names(cast, form)
    fields = stage.pages(place).get(form, stage.WHY)
    path = place.path(form.split(" ")[1])

    def send(client: Client) -> Callable[[], Any]:
        return lambda: client.post(path, fields | stage.files(form))

    granted = stage.SHOWS.get(form)
    tries = (("page", role, where, send(client), granted) for (role, where), client in cast.people.items())
    assert wrong(cast, PAGES[form], tries, hides=_hides(PAGES[form][1], form)) == []
    if PAGES[form][0] == "owner":
        assert tried(cast, send(cast.owner), None)[0]
