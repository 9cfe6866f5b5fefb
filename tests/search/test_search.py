"""Full text over runs, flows, resources and connections: what is found, by whom, and how soon."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from flows.actions import save_draft
from resources import artifacts, connections, keeping
from resources.access import Actor
from resources.errors import BadInput
from resources.models import Artifact
from runs.models import Run, SearchEntry, SearchState
from runs.search import comparing, hits, rebuilding
from runs.search import keeping as duty
from runs.search.finding import Asked
from tests.search.conftest import SOURCE, SYSTEM, catch_up, ids, make_resource, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("crocodile", {"run", "resource"}), ("ledger", {"run", "resource"}), ("uberweisung", {"flow", "run"}),
        ("transfer", {"flow", "run"}), ("bank", {"connection"}), ("bank.example.com", {"connection"}),
        ("http_5xx", {"run"}), ("animal", {"resource"}), ("notes.txt", {"resource"}), ("croc", {"run", "resource"}),
        ('"no alligator"', {"resource"}), ('"alligator no"', set()), ("crocodile -tears", {"run", "resource"}),
        ("alligator or tears", {"resource", "run"}), ("nothing-like-it", set()),
    ],
)  # fmt: skip
def test_everything_is_found_by_what_it_says(place: Any, query: str, kinds: set[str]) -> None:
    assert {hit.kind for hit in hits.search(place["admin"], Asked(query, limit=20)).hits} == kinds


def test_nobody_sees_or_counts_what_is_in_other_folders(place: Any) -> None:
    """Also a phrase, a prefix and an alternative ask in the folders one views only."""
    found = hits.search(place["vera"], Asked("crocodile"))
    assert {hit.id for hit in found.hits} == {place["run"].pk, place["notes"].pk} and found.total == 2
    for query in ("tears", "ledger", "transf", "payments", '"crocodile tears"', "tears or zebra"):
        answer = hits.search(place["vera"], Asked(query))
        assert (answer.hits, answer.total, answer.next_cursor) == ([], 0, None)
    assert ids(place["otto"], "crocodile") == ids(place["otto"], "bank") == []
    assert ids(place["vera"], "bank") == ["bank"]


def test_ranks_do_not_tell_of_hidden_texts_beside_them(place: Any) -> None:
    """A folder whose name only begins alike is another folder."""
    make_resource("crocodile secret", folder="team-b")
    catch_up()
    assert len(ids(place["vera"], "crocodile")) == 2
    trigger = Actor("trigger", "greet", scopes=("viewer:payments",))
    assert set(ids(trigger, "ledger")) == {place["ledger"].pk, place["hidden"].pk}


def test_a_flow_that_moves_takes_its_runs_along_at_once(place: Any) -> None:
    place["greet"].folder = "payments"
    place["greet"].save(update_fields=["folder"])
    assert ids(place["vera"], "crocodile") == [place["notes"].pk]
    assert hits.search(place["vera"], Asked("crocodile")).total == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"kinds": ("resources",)}, {"notes"}), ({"kinds": ("runs", "flows")}, {"run", "hidden"}),
        ({"flow": "greet"}, {"run"}), ({"folder": "payments"}, {"hidden"}), ({"label": "kind=animal"}, {"notes"}),
        ({"label": "kind=ani"}, set()), ({"status": "failed"}, {"hidden"}), ({"status": "open"}, {"run"}),
        ({"since": 4e9}, set()), ({"before": 1.0}, set()), ({"since": 1.0, "before": 4e9}, {"run", "hidden", "notes"}),
    ],
)  # fmt: skip
def test_filters(place: Any, more: dict[str, Any], expected: set[str]) -> None:
    assert set(ids(place["admin"], "crocodile", **more)) == {place[name].pk for name in expected}


def test_labels_of_flows(place: Any) -> None:
    assert ids(place["admin"], "pay", label="team=money", kinds=("flows",)) == ["pay-out"]
    assert ids(place["admin"], "pay", label="team=ops", kinds=("flows",)) == []


@pytest.mark.parametrize(
    ("more", "path"),
    [({"limit": 0}, "limit"), ({"limit": 21}, "limit"), ({"kinds": ("secrets",)}, "in"), ({"status": "odd"}, "status"),
     ({"label": "odd"}, "label"), ({"query": "x" * 10_000}, "query"), ({"cursor": "b2Rk"}, None)],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(place: Any, more: dict[str, Any], path: str | None) -> None:
    with pytest.raises(BadInput) as raised:
        hits.search(place["admin"], Asked(**{"query": "crocodile", **more}))
    assert path is None or raised.value.details[0]["path"] == path


@pytest.mark.parametrize(
    "query",
    ['"', '"""', "'", "''';--", "foo\"bar", "a\0b", "AND", "NOT", "NEAR(x, 2)", "title:x", "^x", "x*", "{a b}: c", "+x",
     "(((((", "\\", "'':*", "!x & y | z <-> w", "<1>", "%s %(now)s %%", "🐊", "the of and", "ﷺ", "\u202edrow",
     "x" * 500, "é" * 300, "日本語", "1e5 0x10 -5 5kg", "a:1A"],
)  # fmt: skip
def test_hostile_questions_are_questions(place: Any, query: str) -> None:
    found = hits.search(place["admin"], Asked(query))
    assert found.total == len(found.hits) <= 10


@pytest.mark.parametrize(
    "text",
    ["a\0b zebra", "🐊 zebra", "zebra \ud800", "<script>alert(1)</script> zebra", "zebra'\\':1A", "zebra " * 30_000,
     "z" * 300_000 + " x", "日本語テスト zebra"],
)  # fmt: skip
def test_hostile_texts_are_indexed(place: Any, text: str) -> None:
    row = artifacts.write(
        [text.encode("utf-8", "surrogatepass")], content_type="text/plain", name="zebra", folder="team"
    )
    catch_up()
    (hit,) = hits.search(place["vera"], Asked("zebra")).hits
    assert hit.id == row.pk and len(SearchEntry.objects.get(object_id=row.pk).body) <= 16_384


def test_pages_do_not_move_while_things_come(place: Any) -> None:
    made = {make_resource(f"walrus {'walrus ' * (n % 3)}{n}").pk for n in range(25)}
    catch_up()
    first = hits.search(place["vera"], Asked("walrus", limit=10))
    assert first.total == 25 and first.next_cursor
    make_resource("walrus walrus walrus walrus")
    catch_up()
    seen = [hit.id for hit in first.hits]
    cursor: str | None = first.next_cursor
    while cursor:
        page = hits.search(place["vera"], Asked("walrus", limit=10, cursor=cursor))
        seen, cursor = seen + [hit.id for hit in page.hits], page.next_cursor
    assert len(seen) == 25 and set(seen) == made
    with pytest.raises(BadInput, match="another question"):
        hits.search(place["vera"], Asked("crocodile", cursor=first.next_cursor))


def test_the_title_counts_more_and_a_snippet_marks_what_was_found(place: Any) -> None:
    titled = make_resource("nothing of it here", name="walrus.txt")
    make_resource("somewhere stands <b>walrus</b> too")
    catch_up()
    found = hits.search(place["vera"], Asked("walrus")).hits
    assert found[0].id == titled.pk
    assert [piece for piece, marked in found[1].snippet.pieces() if marked] == ["walrus"]


def test_what_is_sensitive_or_answers_a_wait_is_not_found(place: Any) -> None:
    token = "0" * 26 + "-abcdef"
    run = make_run(place["greet"], input={"note": f"https://x/callbacks/{token}", "card": "9999888877776666"},
                   output={"echo": "card 9999888877776666"})  # fmt: skip
    catch_up()
    for query in ("9999888877776666", "abcdef", "4111"):
        assert ids(place["admin"], query) == []
    (hit,) = (h for h in hits.search(place["admin"], Asked("greet", limit=20), hydrate=True).hits if h.id == run.pk)
    assert "9999888877776666" not in str(hit) and token not in str(hit)


def test_encrypted_resources_are_found_by_their_name_only(place: Any, settings: Any) -> None:
    row = make_resource("a hidden walrus", name="sealed.txt")
    row.blob.key_id = "k1"
    row.blob.save(update_fields=["key_id"])
    catch_up()
    assert ids(place["vera"], "walrus") == [] and ids(place["vera"], "sealed") == [row.pk]


def test_secrets_of_connections_are_not_found(place: Any) -> None:
    from resources.secrets import set_secret

    set_secret(actor=SYSTEM, name="bank-key", value="walrus-walrus")
    settings = {"base_url": "https://bank.example.com", "auth": {"type": "bearer", "secret": "bank-key"}}
    connections.update_connection(actor=SYSTEM, name="bank", settings=settings)
    catch_up()
    assert ids(place["admin"], "walrus") == ids(place["admin"], '"bank key"') == []


def test_changes_are_found_and_what_they_replaced_is_not(place: Any) -> None:
    text = SOURCE.format(slug="greet", folder="team", title="Greet somebody", step="bow", team="ops")
    save_draft(actor=SYSTEM, slug="greet", source=text, revision=1)
    keeping.update_resource(actor=SYSTEM, artifact_id=place["notes"].pk, labels={"kind": "reptile"})
    Run.objects.filter(pk=place["run"].pk).update(status="succeeded", output="a walrus")
    from runs import history

    history.append(place["run"].pk, "run.succeeded")
    catch_up()
    assert ids(place["vera"], "bow", kinds=("flows",)) == ids(place["vera"], "wave", kinds=("flows",)) == ["greet"]
    assert ids(place["vera"], "reptile") == [place["notes"].pk] and ids(place["vera"], "animal") == []
    assert ids(place["vera"], "walrus", status="succeeded") == [place["run"].pk]


def test_what_is_deleted_is_never_shown_and_soon_forgotten(place: Any) -> None:
    keeping.delete_resource(actor=SYSTEM, artifact_id=place["notes"].pk, now=1.0)
    connections.delete_connection(actor=SYSTEM, name="bank")
    assert place["notes"].pk not in ids(place["vera"], "crocodile") and ids(place["vera"], "bank") == []
    catch_up()
    assert not SearchEntry.objects.filter(object_id__in=[place["notes"].pk, "bank"]).exists()


def test_whatever_was_missed_is_mended_by_a_comparison(place: Any) -> None:
    Run.objects.filter(pk=place["run"].pk).update(status="cancelled")  # nobody told
    Artifact.objects.filter(pk=place["notes"].pk).delete()
    SearchEntry.objects.filter(kind="connection").update(mark="old", body="walrus")
    SearchEntry.objects.filter(kind="flow", object_id="greet").delete()
    for _ in comparing.all_kinds():
        pass
    assert SearchEntry.objects.get(object_id=place["run"].pk).status == "cancelled"
    assert not SearchEntry.objects.filter(object_id=place["notes"].pk).exists()
    assert ids(place["vera"], "bank") == ["bank"] and "greet" in ids(place["vera"], "greet")


def test_the_command_makes_the_index_anew(place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(SearchEntry.objects.values_list("kind", "object_id", "body"))
    SearchEntry.objects.all().delete()
    call_command("rebuild_search")
    assert set(SearchEntry.objects.values_list("kind", "object_id", "body")) == before
    assert "flows: 2" in capsys.readouterr().out
    assert len(ids(place["vera"], "crocodile")) == 2
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM runs_searchwords")
            assert cursor.fetchone()[0] == len(before)


def test_a_repeated_look_changes_nothing(place: Any) -> None:
    assert not duty.step(0, 1.0)
    state = SearchState.objects.get()
    assert state.events and state.audit and state.resources
    assert [count for _, count in rebuilding.rebuild()] == [2, 2, 2, 1]


def test_objects_come_along_where_they_are_asked_for(place: Any) -> None:
    found = {hit.id: hit.object for hit in hits.search(place["admin"], Asked("crocodile", limit=20), hydrate=True).hits}
    assert found[place["run"].pk]["input"] == {"note": "hello crocodile", "card": "[sensitive]"}
    assert found[place["notes"].pk]["text"] == "A crocodile is no alligator."
    assert hits.search(place["admin"], Asked("bank"), hydrate=True).hits[0].object["address"].startswith("https://bank")
    (flow,) = hits.search(place["admin"], Asked("uberweisung", kinds=("flows",)), hydrate=True).hits
    assert flow.object["live"] == "1.0.0" and "transfer" in flow.object["source"]
    assert hits.search(place["admin"], Asked("crocodile")).hits[0].object is None


def test_large_objects_are_cut(place: Any) -> None:
    run = make_run(place["greet"], input={"note": "walrus " * 5000})
    catch_up()
    (hit,) = hits.search(place["admin"], Asked("walrus"), hydrate=True).hits
    assert hit.id == run.pk and len(hit.object["input"]) < 8200
