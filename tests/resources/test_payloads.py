"""The codec of payloads at rest, its fields, and that no column of what runs carry was forgotten."""

from __future__ import annotations

import base64
import os
import re
import string
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from hypothesis import given
from hypothesis import strategies as st

from resources import payloads
from resources.crypto import CannotDecrypt, KeyMissing
from resources.fields import JSONText, PayloadText
from resources.models import KvEntry, NoticeDelivery
from resources.notices import deliveries
from resources.payloads import BOUND, LOOSE, Column

COLUMN = Column("a_table", "a_column", ("id",), tag="kind")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
RING = {name: base64.b64encode(name.encode() * 16).decode() for name in ("k2", "k1")}


@pytest.fixture(autouse=True)
def sealing(settings: Any) -> Any:
    settings.ENCRYPTION_KEYS = RING
    settings.ENCRYPT_PAYLOADS = True
    return settings


@given(JSON, st.text(string.ascii_lowercase, min_size=1, max_size=26), st.integers())
def test_what_is_sealed_comes_back_as_it_was(value: Any, run: str, item: int) -> None:
    text = COLUMN.dump(value, run, item)
    assert COLUMN.load(text, run, item) == value
    assert text.startswith(BOUND + "k2:") or text in ("{}", "[]", '""')


@given(JSON)
def test_without_the_setting_text_is_json_as_ever_and_sealed_values_are_read(value: Any) -> None:
    from django.test import override_settings

    sealed = COLUMN.dump(value, 1)
    with override_settings(ENCRYPT_PAYLOADS=False):
        assert not payloads.is_sealed(COLUMN.dump(value, 1))
        assert COLUMN.load(sealed, 1) == COLUMN.load(COLUMN.dump(value, 1), 1) == value


def test_the_same_value_is_never_sealed_alike() -> None:
    assert len({COLUMN.dump("x", 1) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (COLUMN, ("2",)),
        (COLUMN, ("1", "")),
        (Column("a_table", "another", ("id",)), ("1",)),
        (Column("another", "a_column", ("id",)), ("1",)),
    ],
)
def test_it_opens_nowhere_else(column: Column, row: tuple[str, ...]) -> None:
    text = COLUMN.dump("x", "1")
    assert COLUMN.load(text, 1) == "x"
    with pytest.raises(CannotDecrypt, match="was changed or moved"):
        column.load(text, *row)


@given(st.data())
def test_no_character_of_it_can_be_changed(data: st.DataObject) -> None:
    text = COLUMN.dump({"kind": "manual", "n": 1}, "1")
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + ":+/=").filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    try:
        found = COLUMN.load(changed, "1")
    except (CannotDecrypt, ValueError):  # ValueError: no JSON, and no mark any more
        return
    assert found == {"kind": "manual", "n": 1}  # the last characters of base64 have bits that say nothing


def test_a_key_that_is_not_in_the_ring_is_named(sealing: Any) -> None:
    text = COLUMN.dump("x", 1)
    sealing.ENCRYPTION_KEYS = {"k1": RING["k1"]}
    with pytest.raises(KeyMissing, match="The encryption key k2 is not in the key ring"):
        COLUMN.load(text, 1)


def test_the_kind_and_that_a_resource_is_named_stay_readable_and_nothing_else() -> None:
    assert payloads.split(COLUMN.dump({"kind": "webhook", "body": "res://01"}, 1))[2] == "webhook/res"
    assert payloads.split(COLUMN.dump({"kind": "web hook:", "body": 1}, 1))[2] == ""
    assert payloads.split(COLUMN.dump(["kind"], 1))[2] == ""


def test_after_many_values_and_in_a_forked_process_there_is_a_new_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    def salt() -> bytes:
        return base64.b64decode(payloads.split(COLUMN.dump("x", 1))[3])[:16]

    first = salt()
    assert salt() == first
    assert payloads._sealing is not None
    payloads._sealing.left = 0
    second = salt()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, salt())
        os._exit(0)
    os.waitpid(child, 0)
    assert len({first, second, os.read(reader, 16)}) == 3


# -- fields ------------------------------------------------------------------------------------------------------


def raw(table: str, column: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table}")
        return str(cursor.fetchone()[0])


@pytest.mark.django_db
@pytest.mark.db_matrix
def test_a_row_is_opened_when_it_is_read_and_deferred_columns_too() -> None:
    KvEntry.objects.create(namespace="shared", key="a", value={"n": [1, "ø"]})
    assert raw("resources_kventry", "value").startswith(BOUND)
    assert KvEntry.objects.get().value == {"n": [1, "ø"]}
    assert KvEntry.objects.defer("value").get().value == {"n": [1, "ø"]}
    assert KvEntry.objects.only("value").get().value == {"n": [1, "ø"]}
    row = KvEntry.objects.get()
    row.value["n"].append(2)
    row.save()
    row.refresh_from_db()
    assert row.value == {"n": [1, "ø", 2]}


@pytest.mark.django_db
@pytest.mark.db_matrix
def test_an_update_of_a_known_row_is_bound_to_it_and_another_to_its_column() -> None:
    sender = deliveries.Sender("k", "run", "tell", None)
    deliveries.begin(sender, channel="", kind="in_app", recipients=1, now=1.0, repeat=False)
    deliveries.end(sender, channel="", status="failed", now=2.0, error="It broke.", refused=[{"to": "ada"}])
    assert raw("resources_noticedelivery", "error").startswith(BOUND)
    assert deliveries.of_step("k")[0]["refused"] == [{"to": "ada"}]
    NoticeDelivery.objects.update(error="By many.")
    assert raw("resources_noticedelivery", "error").startswith(LOOSE)
    assert NoticeDelivery.objects.get().error == "By many."
    assert deliveries.of_step("k")[0]["error"] == "By many."


@pytest.mark.django_db
@pytest.mark.db_matrix
@pytest.mark.parametrize("on", [True, False])
def test_a_text_that_looks_sealed_is_kept_as_what_it_is(sealing: Any, on: bool) -> None:
    sealing.ENCRYPT_PAYLOADS = on
    sender = deliveries.Sender("k", "run", "tell", None)
    deliveries.begin(sender, channel="", kind="in_app", recipients=1, now=1.0, repeat=False)
    deliveries.end(sender, channel="", status="failed", now=2.0, error="sealed:1:k2::AAAA")
    assert NoticeDelivery.objects.get().error == "sealed:1:k2::AAAA"


#: columns of texts that are not sealed, as docs/security.md says: configuration, and what the database has to find
OPEN = {
    "flows": "everything: flows, releases and variables are configuration",
    "resources_apitoken": "scopes", "resources_secret": "locator", "resources_secretversion": "locator",
    "resources_connection": "settings", "resources_connectionlimit": "book", "resources_artifact": "labels",
    "resources_upload": "labels", "resources_uploadlink": "labels", "resources_session": "session_data",
    "runs_subscription": "types folders flows", "runs_runner": "labels", "runs_eventname": "marks",
    "runs_runnertoken": "labels", "runs_job": "labels", "runs_replaybatch": "filter scopes",
    "runs_searchentry": "labels body", "approvals_approvalrequest": "reviewers",
}  # fmt: skip


OURS = [m for m in apps.get_models() if m.__module__.partition(".")[0] in ("resources", "runs", "approvals", "flows")]
#: names that nothing else has, or little
SEALED = {
    "input", "output", "control", "answer", "response", "data", "form", "actions", "summary", "comment", "progress",
    "said", "spec", "excerpt", "last_error", "refused",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
#: places that name a column as one is named that may be sealed, and mean another or open what they get
MEANT = {("runs/jobs/logs.py", "data"), ("approvals/votes.py", "form")}


def test_queries_do_not_hand_out_sealed_values_nor_compare_them() -> None:
    """values() and values_list() give them as they lie there, filter() would compare them with another sealing."""
    found = set()
    for app in ("resources", "runs", "approvals", "flows", "orchestra"):
        for path in sorted((ROOT / app).rglob("*.py")):
            text, name = path.read_text(), str(path.relative_to(ROOT))
            for call in re.findall(r"\.values(?:_list)?\(([^()]*)\)", text):
                found |= {(name, column) for column in SEALED & set(re.findall(r'"(\w+)"', call))}
            for call in re.findall(r"objects\.(?:filter|exclude|get)\(([^()]*)\)|rows\.filter\(([^()]*)\)", text):
                found |= {(name, column) for column in SEALED & set(re.findall(r"\b(\w+)=", "".join(call)))}
    assert found - MEANT == {("runs/dead/poison.py", "input")}  # only where payloads are not sealed


def test_every_column_of_text_is_sealed_or_known_to_stay_in_the_open() -> None:
    found: dict[str, set[str]] = {}
    for model in OURS:
        for field in model._meta.local_fields:
            table = str(model._meta.db_table)
            if isinstance(field, models.TextField) and not getattr(field, "row", ()) and not table.startswith("flows_"):
                found.setdefault(table, set()).add(field.name)
    assert found == {table: set(names.split()) for table, names in OPEN.items() if table != "flows"}


def test_what_names_a_row_are_columns_of_it_in_the_order_of_all_its_fields() -> None:
    for model in apps.get_models():
        rows = {row for f in model._meta.local_fields if (row := getattr(f, "row", ()))}
        assert len(rows) <= 1, model
        columns = {f.attname for f in model._meta.local_fields}
        assert all(set(row) <= columns for row in rows), model


def test_for_migrations_they_are_plain_columns() -> None:
    field = PayloadText(max_length=300, row=("id",))
    field.name = "x"
    assert field.deconstruct()[1:] == ("django.db.models.TextField", [], {"max_length": 300})
    kept = JSONText(default=dict, row=("id",), tag="kind")
    kept.name = "x"
    assert kept.deconstruct()[1:] == ("resources.fields.JSONText", [], {"default": dict})


def test_the_docs_list_what_stays_in_the_open() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    part = text.partition("## Payloads at rest")[2].partition("\n## ")[0]
    for word in ("variables", "digest", "labels", "ENCRYPT_PAYLOADS", "ENCRYPT_RESOURCES", "tag", "idempotency"):
        assert word in part, word
