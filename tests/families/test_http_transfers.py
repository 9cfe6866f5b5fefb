"""http: bodies of every kind, resources in and out, page after page, asking again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from email.parser import BytesParser
from typing import Any

import pytest

from flows.resolve import ResolveError
from flows.steps.base import Fail, Fetched, Refused, Retry
from flows.steps.registry import family
from resources import artifacts
from resources.models import Artifact
from tests.families.attempt import attempt, error, output, resolve
from tests.families.outside import Outside

Connect = Callable[..., str]
GET = {"connection": "world"}
POST = {**GET, "method": "POST", "path": "/echo"}


@pytest.fixture
def kept(connect: Connect) -> dict[str, Any]:
    """What a run has: a connection, a resource, and the ways to read and to make some."""
    connect(path="")
    made = artifacts.store(b"id,name\n1,Ana\n", content_type="text/csv", name="rows.csv", run_id="01run")

    def fetch(resource: Any) -> Fetched:
        if resource["$res"] != f"res://{made.pk}":
            raise Refused("There is no such resource.")
        return Fetched(io.BytesIO(artifacts.read(made)), made.name, made.content_type, made.size)

    def store(chunks: Iterable[bytes], *, name: str, content_type: str) -> dict[str, Any]:
        return artifacts.ref(artifacts.write(chunks, name=name, content_type=content_type, run_id="01run"))

    return {"fetch": fetch, "store": store, "resource": f"res://{made.pk}"}


def send(config: dict[str, Any], kept: dict[str, Any]) -> Any:
    return attempt("http", config, fetch=kept["fetch"], store=kept["store"])


def test_a_body_comes_from_a_resource_with_its_type_and_size(kept: dict[str, Any], outside: Outside) -> None:
    output(send({**POST, "body_from": kept["resource"]}, kept))
    (seen,) = outside.seen
    assert seen.body == b"id,name\n1,Ana\n"
    assert (seen.headers["content-type"], seen.headers["content-length"]) == ("text/csv", "14")


def test_what_people_approve_names_the_resource_by_its_digest(kept: dict[str, Any]) -> None:
    action = resolve("http", {**POST, "body_from": "${{ input.file }}"}, {"input": {"file": kept["resource"]}})
    assert action.config["body_from"]["sha256"] and action.config["body_from"]["$res"] == kept["resource"]
    assert f"with the resource {kept['resource']} of 14 bytes" in family("http").describe(action)


@pytest.mark.parametrize("name", ["/etc/passwd", "res://01NOTHING", 7, {"$res": None}, "file:///etc/passwd"])
def test_a_body_that_names_no_resource_is_refused_before_anything_is_sent(
    kept: dict[str, Any], outside: Outside, name: Any
) -> None:
    with pytest.raises(ResolveError) as refused:
        resolve("http", {**POST, "body_from": name})
    assert refused.value.error.cls == "refused" and outside.seen == []


def test_a_multipart_body_has_fields_and_files(kept: dict[str, Any], outside: Outside) -> None:
    parts = {
        "title": "Rows é", "count": 3, "dry": True, "nothing": None,
        "file": {"resource": kept["resource"]},
        "note": {"text": "<a/>", "filename": 'n"\r\n.xml', "content_type": "application/xml"},
    }  # fmt: skip
    output(send({**POST, "multipart": parts}, kept))
    (seen,) = outside.seen
    form = BytesParser().parsebytes(b"content-type: " + seen.headers["content-type"].encode() + b"\r\n\r\n" + seen.body)
    found: dict[Any, Any] = {}
    for part in form.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        found[name] = (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))  # type: ignore[union-attr]
    assert found == {
        "title": (None, "text/plain", "Rows é".encode()),
        "count": (None, "text/plain", b"3"),
        "dry": (None, "text/plain", b"true"),
        "file": ("rows.csv", "text/csv", b"id,name\n1,Ana\n"),
        "note": ("n%22%0D%0A.xml", "application/xml", b"<a/>"),
    }


def test_fields_alone_are_multipart_too(kept: dict[str, Any], outside: Outside) -> None:
    output(send({**POST, "multipart": {"a": "1"}}, kept))
    assert outside.seen[0].headers["content-type"].startswith("multipart/form-data; boundary=")


def test_an_answer_becomes_a_resource_whatever_its_size(kept: dict[str, Any]) -> None:
    out = output(send({**GET, "path": "/file/1000000", "response": "resource"}, kept))
    assert (out["status"], out["body"]["size"], out["body"]["content_type"]) == (200, 3_000_000, "text/csv")
    row = artifacts.get(out["body"]["$res"])
    assert row.name == "r.csv" and artifacts.read(row) == b"abc" * 1_000_000


def test_an_answer_that_fails_the_step_is_kept_as_text_with_the_error(kept: dict[str, Any]) -> None:
    attempted = send({**GET, "path": "/status/404", "response": "resource"}, kept)
    assert error(attempted) == "http_4xx" and '"error": "no"' in attempted.stored["details"]["body"]


def test_a_resource_larger_than_allowed_leaves_nothing(kept: dict[str, Any], tmp_path: Any, settings: Any) -> None:
    before = Artifact.objects.count()
    attempted = send({**GET, "path": "/file/1000", "response": "resource", "max_bytes": 2999}, kept)
    assert error(attempted) == "limit" and Artifact.objects.count() == before


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({}, "/list"),
        ({"next": "/next"}, "/list?by=next"),
        ({"cursor": "/cursor", "param": "after"}, "/list?by=cursor"),
        ({"page": True}, "/list"),
        ({"offset": True}, "/list"),
    ],
)
def test_all_pages_are_asked_for_and_their_items_are_one_list(
    kept: dict[str, Any], outside: Outside, how: dict[str, Any], path: str
) -> None:
    out = output(send({**GET, "path": path, "paginate": {"items": "/data/rows", **how}}, kept))
    assert (out["body"], out["more"]) == (list(range(7)), False)
    assert out["pages"] == len(outside.seen) == (4 if how in ({"page": True}, {"offset": True}) else 3)


@pytest.mark.parametrize(
    ("most", "items", "pages"), [({"max_pages": 2}, 6, 2), ({"max_items": 4}, 4, 2), ({"max_items": 6}, 6, 2)]
)
def test_pages_end_where_the_step_says_and_it_says_that_there_was_more(
    kept: dict[str, Any], most: dict[str, int], items: int, pages: int
) -> None:
    out = output(send({**GET, "path": "/list", "paginate": {"items": "/data/rows", **most}}, kept))
    assert (out["body"], out["pages"], out["more"]) == (list(range(items)), pages, True)


@pytest.mark.parametrize(
    ("how", "path", "cls", "said"),
    [
        ({"items": "/data"}, "/list", "input", "no list at /data"),
        ({"items": ""}, "/text?body=1", "input", "no list at the answer"),
        (
            {"items": "/l", "next": "/n"},
            '/text?type=application/json&body={"l":[],"n":"http:%2F%2Fevil.test/"}',
            "refused",
            "",
        ),
        ({"items": "/l", "next": "/n"}, '/text?type=application/json&body={"l":[],"n":"//127.0.0.2/"}', "refused", ""),
        (
            {"items": "/l", "next": "/n"},
            '/text?type=application/json&body={"l":[],"n":"file:%2F%2F/etc/passwd"}',
            "refused",
            "",
        ),
        ({"items": "/data/rows"}, "/status/500", "http_5xx", ""),
    ],
)
def test_pages_that_lead_nowhere_or_elsewhere_fail(
    kept: dict[str, Any], outside: Outside, how: dict[str, Any], path: str, cls: str, said: str
) -> None:
    attempted = send({**GET, "path": path, "paginate": how}, kept)
    assert error(attempted) == cls and said in attempted.stored["message"]
    assert len(outside.seen) == 1


def test_a_page_that_leads_back_ends_the_step(kept: dict[str, Any], outside: Outside) -> None:
    body = json.dumps({"l": [1], "n": "?again"})
    path = f"/text?type=application/json&body={body}"
    attempted = send({**GET, "path": path, "paginate": {"items": "/l", "next": "/n"}}, kept)
    assert isinstance(attempted.outcome, Fail | Retry) and len(outside.seen) <= 2


def test_what_was_accepted_is_asked_for_until_it_is_ready(kept: dict[str, Any], outside: Outside) -> None:
    out = output(send({**GET, "method": "POST", "path": "/job", "json": {}, "poll": {"interval": "100ms"}}, kept))
    assert (out["status"], out["body"]) == (200, {"asked": 4})
    assert [(seen.method, seen.path) for seen in outside.seen] == [("POST", "/job"), *[("GET", "/job/7")] * 3]
    assert all(not seen.body for seen in outside.seen[1:])


def test_asking_again_ends(kept: dict[str, Any], outside: Outside) -> None:
    often = {**GET, "path": "/status/202", "poll": {"interval": "100ms", "max_times": 2}}
    assert error(send(often, kept)) == "expired" and len(outside.seen) == 3
    lost = send({**often, "method": "POST"}, kept)
    assert error(lost) == "input" and "no Location" in lost.stored["message"]
    late = attempt("http", {**often, "poll": {"interval": "1h"}}, timeout=0.5)
    assert error(late) == "timeout"
