"""Creating, saving, releasing, making live: what they change, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from flows.actions import create_flow, make_live, release_draft, save_draft, visible_flow
from flows.models import Draft, Flow, Release
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound, OrchestraError, PreconditionFailed, TooLarge
from resources.models import AuditEntry

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.fixture
def flow(author: Actor, source: str, github_secret: None) -> Flow:
    return create_flow(actor=author, source=source)


def refused(error: type[OrchestraError], code: str, call: Callable[[], Any]) -> Any:
    with pytest.raises(error) as caught, transaction.atomic():
        call()
    assert caught.value.stable_code == code
    return caught.value


def test_a_flow_is_made_of_its_text(flow: Flow, author: Actor) -> None:
    assert (flow.slug, flow.folder, flow.title, flow.live) == ("greet", "team", "Greet somebody", None)
    assert flow.draft.revision == 1
    assert [r.revision for r in flow.revisions.all()] == [1]
    assert AuditEntry.objects.get(action="flow.created").object_id == "greet"


def test_a_slug_is_taken_once(flow: Flow, author: Actor, source: str) -> None:
    refused(Conflict, "flow_exists", lambda: create_flow(actor=author, source=source))
    assert Flow.objects.count() == 1
    assert AuditEntry.objects.filter(action="flow.created").count() == 1


@pytest.mark.parametrize(
    "text", ["", "a: [", "flow: Bad Slug\nsteps: []", "title: none", "flow: ok\nfolder: ../up\n", "flow: 5"]
)
def test_a_text_without_a_readable_headline_makes_nothing(author: Actor, text: str) -> None:
    error = refused(BadInput, "invalid_flow", lambda: create_flow(actor=author, source=text))
    assert error.details["problems"][0]["line"] >= 1
    assert not Flow.objects.exists()


def test_lint_errors_do_not_stop_a_draft(author: Actor) -> None:
    flow = create_flow(actor=author, source="flow: half\nfolder: team\nsteps:\n  - {id: a}\n")
    assert save_draft(actor=author, slug="half", source="flow: half\nfolder: team\n", revision=1).revision == 2
    assert flow.revisions.count() == 2


def test_saving_on_top_of_a_newer_revision_is_refused_and_says_whose(
    flow: Flow, author: Actor, person: Any, source: str
) -> None:
    other = Actor.of_user(person("bo", "author", "team"))
    save_draft(actor=other, slug="greet", source=source + "# bo\n", revision=1)
    error = refused(
        PreconditionFailed,
        "stale_draft",
        lambda: save_draft(actor=author, slug="greet", source=source + "# ana\n", revision=1),
    )
    assert (error.status, error.details["revision"], error.details["updated_by"]) == (412, 2, "bo")
    assert error.details["source"].endswith("# bo\n")
    assert Draft.objects.get().source.endswith("# bo\n")


def test_saving_the_same_text_again_makes_no_revision(flow: Flow, author: Actor, source: str) -> None:
    assert save_draft(actor=author, slug="greet", source=source, revision=1).revision == 1


def test_a_slug_never_changes(flow: Flow, author: Actor, source: str) -> None:
    refused(
        BadInput,
        "slug_changed",
        lambda: save_draft(actor=author, slug="greet", source=source.replace("greet", "other", 1), revision=1),
    )


def test_a_text_over_the_limit_is_refused(author: Actor) -> None:
    refused(TooLarge, "too_large", lambda: create_flow(actor=author, source="#" * 300_000))


def test_a_release_keeps_text_plan_and_checksum(flow: Flow, author: Actor, source: str) -> None:
    release = release_draft(actor=author, slug="greet", version="1.0.0", notes="First.", live=True)
    flow.refresh_from_db()
    assert flow.live == release
    assert release.source == source
    assert release.plan.checksum == release.checksum
    assert [e.action for e in AuditEntry.objects.order_by("seq")][-2:] == ["release.created", "flow.live_changed"]


@pytest.mark.parametrize(
    ("version", "error", "code"),
    [
        ("1.0", BadInput, "bad_version"),
        ("v2.0.0", BadInput, "bad_version"),
        ("1.1.0", Conflict, "version_exists"),
        ("1.0.9", BadInput, "version_not_newer"),
        ("1.1.0-rc.1", BadInput, "version_not_newer"),
    ],
)
def test_a_version_must_be_valid_new_and_newer(flow: Flow, author: Actor, version: str, error: Any, code: str) -> None:
    release_draft(actor=author, slug="greet", version="1.1.0")
    refused(error, code, lambda: release_draft(actor=author, slug="greet", version=version))
    assert Release.objects.count() == 1


def test_a_draft_with_errors_cannot_be_released(author: Actor) -> None:
    create_flow(actor=author, source="flow: half\nfolder: team\nsteps:\n  - {id: a, nonsense: 1}\n")
    error = refused(BadInput, "lint_errors", lambda: release_draft(actor=author, slug="half", version="1.0.0"))
    assert any(p["severity"] == "error" and p["line"] == 4 for p in error.details["problems"])


def test_a_release_of_a_draft_that_moved_is_refused(flow: Flow, author: Actor, source: str) -> None:
    save_draft(actor=author, slug="greet", source=source + "#\n", revision=1)
    refused(
        PreconditionFailed,
        "stale_draft",
        lambda: release_draft(actor=author, slug="greet", version="1.0.0", revision=1),
    )


def test_live_moves_between_releases_and_back(flow: Flow, author: Actor) -> None:
    release_draft(actor=author, slug="greet", version="1.0.0", live=True)
    release_draft(actor=author, slug="greet", version="1.1.0", live=True)
    make_live(actor=author, slug="greet", version="1.0.0")
    flow.refresh_from_db()
    assert flow.live is not None
    assert flow.live.version == "1.0.0"
    refused(NotFound, "not_found", lambda: make_live(actor=author, slug="greet", version="9.0.0"))


def test_a_live_flow_moves_only_with_its_release_and_only_where_the_author_may(
    flow: Flow, author: Actor, source: str
) -> None:
    release_draft(actor=author, slug="greet", version="1.0.0", live=True)
    save_draft(actor=author, slug="greet", source=source.replace("folder: team", "folder: vault"), revision=1)
    flow.refresh_from_db()
    assert flow.folder == "team"
    refused(NotAllowed, "not_allowed", lambda: release_draft(actor=author, slug="greet", version="1.1.0", live=True))
    flow.refresh_from_db()
    assert (flow.folder, flow.live.version if flow.live else "") == ("team", "1.0.0")


@pytest.mark.parametrize("role", ["viewer", "operator", "reviewer"])
def test_only_authors_change_flows(flow: Flow, person: Any, source: str, role: str) -> None:
    actor = Actor.of_user(person("cy", role, "team"))
    refused(NotAllowed, "not_allowed", lambda: create_flow(actor=actor, source=source.replace("greet", "mine", 1)))
    refused(NotAllowed, "not_allowed", lambda: save_draft(actor=actor, slug="greet", source=source + "#", revision=1))
    refused(NotAllowed, "not_allowed", lambda: release_draft(actor=actor, slug="greet", version="1.0.0"))
    refused(NotAllowed, "not_allowed", lambda: make_live(actor=actor, slug="greet", version="1.0.0"))


def test_a_flow_in_an_unseen_folder_does_not_exist(flow: Flow, person: Any, source: str) -> None:
    stranger = Actor.of_user(person("di", "author", "elsewhere"))
    refused(NotFound, "not_found", lambda: visible_flow(stranger, "greet"))
    refused(NotFound, "not_found", lambda: save_draft(actor=stranger, slug="greet", source=source, revision=1))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE flows_release SET notes = 'changed'",
        "UPDATE flows_release SET plan_json = '{}'",
        "DELETE FROM flows_release",
    ],
)
def test_the_database_itself_refuses_to_change_a_release(flow: Flow, author: Actor, statement: str) -> None:
    release = release_draft(actor=author, slug="greet", version="1.0.0", notes="kept")
    with (
        pytest.raises(DatabaseError, match="a release never changes"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert Release.objects.get(pk=release.pk).notes == "kept"


_COLUMNS = "version, language, source, plan_json, checksum, revision, released_at, flow_id, released_by_id"


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO flows_release (id, notes, {_COLUMNS}) "
        f"SELECT id, 'changed', {_COLUMNS} FROM flows_release",
        f"INSERT OR REPLACE INTO flows_release (notes, {_COLUMNS}) SELECT 'changed', {_COLUMNS} FROM flows_release",
    ],
)
def test_sqlite_refuses_to_replace_a_release(flow: Flow, author: Actor, statement: str) -> None:
    if connection.vendor != "sqlite":
        statement = "UPDATE flows_release SET notes = 'changed'"  # PostgreSQL has no such statement
    release = release_draft(actor=author, slug="greet", version="1.0.0", notes="kept")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Release.objects.get(pk=release.pk).notes == "kept"
