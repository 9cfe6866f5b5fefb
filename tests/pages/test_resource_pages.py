"""Resources in pages and API: who sees what, what is served how, links, uploads."""

from __future__ import annotations

import csv
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from resources import artifacts, links
from resources.access import Actor
from resources.errors import Gone, NotFound
from resources.models import Artifact, AuditEntry
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\1\0\0\0\0"


PNG = png(4, 4)
BODY = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> Path:
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path / "files"


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(make_user("oli", "operator", folder="payments"))
    return client


def make(data: bytes = BODY, content_type: str = "application/octet-stream", **more: Any) -> Artifact:
    return artifacts.write([data], content_type=content_type, **{"folder": "payments", **more})


def text(response: Any) -> str:
    return str(response.content.decode())


def api(client: Client, method: str, path: str, body: Any = None) -> Any:
    data = "" if body is None else json.dumps(body)
    return client.generic(method.upper(), f"/api/v1{path}", data, content_type="application/json")


RANGES = [
    (None, 200, 0, len(BODY)),
    ("bytes=0-", 200, 0, len(BODY)),
    ("bytes=5-9", 206, 5, 10),
    ("bytes=102399-", 206, 102399, 102400),
    ("bytes=-7", 206, len(BODY) - 7, len(BODY)),
    ("bytes=9-5", 200, 0, len(BODY)),
    ("bytes=1-2,4-5", 200, 0, len(BODY)),
    ("lines=1-2", 200, 0, len(BODY)),
]


@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize(("asked", "status", "first", "end"), RANGES)
def test_any_range_is_served(
    asked: str | None, status: int, first: int, end: int, secret: bool, settings: Any, browser: Client
) -> None:
    settings.ENCRYPT_RESOURCES = secret
    made = make()
    headers = {} if asked is None else {"Range": asked}
    response: Any = browser.get(f"/resources/{made.pk}/download", headers=headers)
    assert (response.status_code, response.getvalue()) == (status, BODY[first:end])
    assert response["Content-Length"] == str(end - first)
    assert response["ETag"] == f'"{made.sha256}"'
    assert browser.head(f"/resources/{made.pk}/download")["Content-Length"] == str(len(BODY))


def test_ranges_outside_and_copies_that_are_still_good(browser: Client) -> None:
    path = f"/resources/{make().pk}/download"
    outside = browser.get(path, headers={"Range": "bytes=102400-"})
    assert (outside.status_code, outside["Content-Range"]) == (416, f"bytes */{len(BODY)}")
    etag = browser.head(path)["ETag"]
    assert browser.get(path, headers={"If-None-Match": etag}).status_code == 304
    for known in ("*", f'"old", W/{etag}'):
        assert browser.get(path, headers={"If-None-Match": known}).status_code == 304
    for version, status in ((etag, 206), ('"old"', 200), (f"W/{etag}", 200), ("Sat, 21 Nov 2026 10:00:00 GMT", 200)):
        assert browser.get(path, headers={"If-Range": version, "Range": "bytes=0-1"}).status_code == status


@pytest.mark.parametrize("way", ["/resources/{}/download", "/api/v1/resources/{}/content", "link"])
def test_each_way_to_the_bytes_answers_head_ranges_and_etags(way: str, browser: Client) -> None:
    made = make()
    path = way.format(made.pk)
    if way == "link":
        path = "/shared/" + api(browser, "post", f"/resources/{made.pk}/links", {}).json()["url"].rsplit("/shared/")[1]
    head = browser.head(path, headers={"Range": "bytes=0-3"})  # a range is for GET
    assert (head.status_code, head["Content-Length"], head["Accept-Ranges"]) == (200, str(len(BODY)), "bytes")
    assert head.content == b""
    assert browser.head(path, headers={"If-None-Match": head["ETag"]}).status_code == 304
    part: Any = browser.get(path, headers={"Range": "bytes=-2", "If-Range": head["ETag"]})
    assert (part.status_code, part["Content-Range"]) == (206, f"bytes 102398-102399/{len(BODY)}")
    assert (part.getvalue(), part["Content-Length"], part.streaming) == (BODY[-2:], "2", True)
    outside = browser.get(path, headers={"Range": "bytes=102400-"})
    assert (outside.status_code, outside["Content-Range"], outside.content) == (416, f"bytes */{len(BODY)}", b"")


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"])
def test_what_could_run_is_only_bytes_to_a_browser(content_type: str, browser: Client) -> None:
    made = make(b"<script>1</script>", content_type, name='a"b\r\nc.html')
    response = browser.get(f"/resources/{made.pk}/download")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="abc.html"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert browser.get(f"/resources/{made.pk}/image").status_code == 404
    assert "<script>1" not in text(browser.get(f"/resources/{made.pk}"))


SHOWN = [
    (b'{"a":[1]}', "application/json", "", "&quot;a&quot;: ["),
    (b"name,n\n<b>x</b>,2\n", "text/csv", "", "<td>&lt;b&gt;x&lt;/b&gt;</td><td>2</td>"),
    (b"name,n\nx,2\n", "text/csv; charset=utf-8", "", "<td>x</td><td>2</td>"),
    (b'{"a":[1]}', "application/json;charset=UTF-8", "", "&quot;a&quot;: ["),
    (b'{"a":[1]}', "application/problem+json", "", "&quot;a&quot;: ["),
    (PNG, "image/png; name=a.png", "", "/image"),
    (b"old\n" * 30_000 + b"\x1b[31mred\x1b[0m end\n", "text/plain", "x.log", "old\nred end"),
    (b"\x00\x01AB", "application/octet-stream", "", "00000000  00 01 41 42"),
    (PNG, "image/png", "", "/image"),
    (b"", "text/plain", "", "It is empty."),
    (png(50_000, 50_000), "image/png", "bomb.png", "It has 50000 × 50000 pixels: too large to be shown here."),
    (b"GIF89a<script>", "image/gif", "", "29500 × 29283 pixels"),
    (b"<svg onload='x()'/>", "image/png", "", "00000000  3c 73 76 67"),
    (b"<svg onload='x()'/>", "image/svg+xml", "", "&lt;svg onload=&#x27;x()&#x27;/&gt;"),
    (b"<script>x()</script>", "text/html", "", "&lt;script&gt;x()&lt;/script&gt;"),
    (b"=1+1,@SUM(A1)\n-2,+3\n", "text/csv", "", '<th scope="col">=1+1</th>'),
    (b"a\n" + b"y" * 300 + b"\n", "text/csv", "", "<td>" + "y" * 200 + "</td>"),
    (b'a,"' + b"z" * 200_000, "text/csv", "", "The first rows"),
    (b"nul\0nul", "text/plain", "", "6e 75 6c 00"),
    (b"caf\xe9 and more text", "text/plain", "", "caf\ufffd and more text"),
    (b"x" * 2_000_000, "text/plain", "", "Only its beginning"),
    (b"z" * 200_000, "text/x-log", "run.log", "Only its end"),
    (b"[" * 70_000, "application/json", "", "Only its beginning"),
    ("plain \u202e text".encode(), "text/plain", "", "plain  text"),
]


@pytest.mark.parametrize(("data", "content_type", "name", "expected"), SHOWN)
def test_previews_show_each_type_safely(
    data: bytes, content_type: str, name: str, expected: str, browser: Client
) -> None:
    made = make(data, content_type, name=name)
    assert expected in text(browser.get(f"/resources/{made.pk}"))


def test_a_preview_of_damaged_bytes_is_contained_in_its_card(browser: Client, files: Path) -> None:
    made = make(name="gone.txt")
    (files / made.blob.key).unlink()
    page = browser.get(f"/resources/{made.pk}")
    assert page.status_code == 200
    assert "It cannot be shown." in text(page)
    assert browser.get(f"/resources/{made.pk}/download").status_code == 500


def test_a_wide_or_long_table_is_cut(browser: Client) -> None:
    made = make(b"\n".join(b",".join(b"c%d" % n for n in range(60)) for _ in range(200)), "text/csv")
    page = text(browser.get(f"/resources/{made.pk}"))
    assert page.count("<tr>") == 101
    assert "c49" in page
    assert "c50" not in page
    assert "The first rows" in page


@pytest.mark.parametrize("limit", [131_072, 1_000_000])  # a process that read an exported trail reads longer ones
def test_a_table_with_a_long_cell_is_cut_however_long_cells_this_process_reads(limit: int, browser: Client) -> None:
    made, before = make(b'a,"' + b"z" * 200_000 + b'"', "text/csv"), csv.field_size_limit(limit)
    try:
        assert "The first rows" in text(browser.get(f"/resources/{made.pk}"))
    finally:
        csv.field_size_limit(before)


def test_links_work_without_signing_in_until_they_are_over_or_revoked(browser: Client) -> None:
    made = make()
    page = text(browser.post(f"/resources/{made.pk}/link"))
    url = page.split('readonly value="')[1].split('"')[0]
    path = "/shared/" + url.rsplit("/shared/")[1]
    stranger = Client()
    response: Any = stranger.get(path, headers={"Range": "bytes=0-3"})
    assert (response.status_code, response.getvalue()) == (206, BODY[:4])
    assert stranger.post(path).status_code == 405
    assert stranger.get(path[:-1] + ("A" if path[-1] != "A" else "B")).status_code == 404
    assert AuditEntry.objects.get(action="resource.link").object_id == made.pk
    with pytest.raises(Gone, match="over"):
        links.follow(path.removeprefix("/shared/"), method="GET", now=time.time() + 3601)
    with pytest.raises(NotFound):
        links.follow(path.removeprefix("/shared/"), method="PUT", now=time.time())
    browser.post(f"/resources/{made.pk}/revoke")
    assert stranger.get(path).status_code == 410


def test_links_are_inline_only_for_safe_types_and_live_a_week_at_most(browser: Client) -> None:
    page, safe = make(b"<b>", "text/html"), make(b"text", "text/plain")
    path = f"/resources/{safe.pk}/links"
    assert api(browser, "post", f"/resources/{page.pk}/links", {"disposition": "inline"}).status_code == 422
    assert api(browser, "post", path, {"expires_in": 604801}).status_code == 422
    url = api(browser, "post", path, {"disposition": "inline"}).json()["url"]
    response = Client().get("/shared/" + url.rsplit("/shared/")[1])
    assert response["Content-Disposition"].startswith("inline")
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert api(browser, "delete", path).status_code == 204
    assert Client().get("/shared/" + url.rsplit("/shared/")[1]).status_code == 410


def test_somebody_without_the_folder_sees_links_changes_and_deletes_nothing(client: Client) -> None:
    client.force_login(make_user("eve", "admin", folder="ops"))
    made = make(name="hidden.csv")
    assert "hidden.csv" not in text(client.get("/resources"))
    for path in ("", "/download", "/image"):
        assert client.get(f"/resources/{made.pk}{path}").status_code == 404
    for path in ("/link", "/revoke", "/change", "/delete"):
        assert client.post(f"/resources/{made.pk}{path}", {"keep": "forever"}).status_code == 404
    for method, path in (
        ("get", ""),
        ("get", "/content"),
        ("head", "/content"),
        ("post", "/links"),
        ("delete", "/links"),
        ("delete", ""),
    ):
        answer = api(client, method, f"/resources/{made.pk}{path}", {} if method == "post" else None)
        missing = api(client, method, f"/resources/{'0' * 26}{path}", {} if method == "post" else None)
        # what there is and what there is not look the same
        assert (answer.status_code, answer.content) == (missing.status_code, missing.content), path
        assert answer.status_code == 404
    assert Artifact.objects.get().condemned_at is None
    assert not AuditEntry.objects.filter(object_type="resource").exists()


def test_filters_and_pages_of_the_list(browser: Client) -> None:
    one = make(b"1", "text/csv; charset=utf-8", name="rows.csv", labels={"team": "a%", "n": "1"})
    make(b"2", "application/json", run_id="0" * 26, step="export", labels={"team": "A%"})
    make(b"3", "text/x-yaml", name="b.yaml")
    found = {
        query: [item["id"] for item in api(browser, "get", f"/resources?{query}").json()["items"]]
        for query in (
            "type=table",
            "type=text/csv",
            "label=team%3Da%25",
            "q=ROWS",
            "origin=upload",
            "type=text/x-yaml",
            "origin=" + "0" * 26,
        )
    }
    assert found["type=table"] == found["type=text/csv"] == found["label=team%3Da%25"] == found["q=ROWS"] == [one.pk]
    assert [len(ids) for ids in found.values()] == [1, 1, 1, 1, 2, 1, 1]
    first = api(browser, "get", "/resources?limit=2").json()
    rest = api(browser, "get", f"/resources?limit=2&cursor={first['next_cursor']}").json()
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]
    assert "No resources match" in text(browser.get("/resources?q=nothing"))
    assert browser.get("/resources?label=bad").status_code == 422
    assert "Older" not in text(browser.get("/resources"))


def test_the_list_asks_as_many_queries_for_many_rows_as_for_few(browser: Client) -> None:
    counts = []
    for rows in (1, 12):
        for n in range(rows):
            make(b"%d" % n, name=f"{n}.bin", labels={"n": str(n)})
        with CaptureQueriesContext(connection) as caught:
            assert browser.get("/resources").status_code == 200
        counts.append(len(caught))
    assert counts[0] == counts[1] <= 12


def test_retention_pin_and_labels_are_changed_on_the_page_and_in_the_api(browser: Client) -> None:
    made = make()
    form = {"keep": "until", "keep_until": "2030-01-31T10:00", "pinned": "on", "labels": "team=a\nkind = report"}
    assert browser.post(f"/resources/{made.pk}/change", form).status_code == 302
    shown = api(browser, "get", f"/resources/{made.pk}").json()
    assert (shown["keep"], shown["keep_until"][:16], shown["pinned"]) == ("until", "2030-01-31T10:00", True)
    assert shown["labels"] == {"kind": "report", "team": "a"}
    assert "longer while an open run or approval needs it" not in text(browser.get(f"/resources/{made.pk}")), "pinned"
    browser.post(f"/resources/{made.pk}/change", {**form, "pinned": ""})
    assert "longer while an open run or approval needs it" in text(browser.get(f"/resources/{made.pk}"))
    browser.post(f"/resources/{made.pk}/change", form)
    refused = browser.post(f"/resources/{made.pk}/change", {"keep": "until", "labels": ""})
    assert refused.status_code == 422
    assert "Give a date" in text(refused)
    assert api(browser, "delete", f"/resources/{made.pk}").json()["error"]["code"] == "pinned"
    assert api(browser, "patch", f"/resources/{made.pk}", {"pinned": False, "labels": {}}).status_code == 200
    assert browser.post(f"/resources/{made.pk}/delete").headers["Location"] == "/resources"
    assert api(browser, "get", f"/resources/{made.pk}").status_code == 404


def test_files_are_uploaded_on_the_page_and_over_the_api(browser: Client, tmp_path: Path) -> None:
    path = tmp_path / "..rep\u202eort é.csv"
    path.write_bytes(b"a,b\n")
    with path.open("rb") as file:
        response = browser.post("/resources/upload", {"file": file, "folder": "payments"})
    row = Artifact.objects.get()
    assert response.headers["Location"] == f"/resources/{row.pk}"
    assert (row.name, row.content_type, row.created_by, row.keep) == ("report é.csv", "text/csv", "oli", "forever")
    url = "/api/v1/resources?name=../../etc/x.bin&folder=payments"
    sent = browser.post(url, data=BODY, content_type="application/x-thing")
    assert (sent.status_code, sent.json()["name"], sent.json()["size"]) == (201, "x.bin", len(BODY))
    assert artifacts.read(artifacts.get(sent.json()["id"])) == BODY
    assert AuditEntry.objects.filter(action="resource.uploaded").count() == 2


BAD = [("folder=ops", 403), ("folder=..", 422), ("folder=", 403)]


@pytest.mark.parametrize(("query", "status"), BAD)
def test_uploads_where_one_may_not_are_refused(query: str, status: int, browser: Client) -> None:
    sent = browser.post(f"/api/v1/resources?{query}", data=b"x", content_type="text/plain")
    assert sent.status_code == status
    assert not Artifact.objects.exists()


def test_the_run_page_leads_to_the_resources_that_it_names(
    sign_in: Callable[[str], Client], place: dict[str, Any]
) -> None:
    from orchestra.templatetags.ui import pretty

    made = make()
    assert f'<a href="/resources/{made.pk}">res://{made.pk}</a>' in pretty(artifacts.ref(made))
    assert "<a" not in pretty({"x": 'res://"><script>'})


def test_an_actor_without_the_role_gets_no_link() -> None:
    made = make()
    outsider = Actor.of_user(make_user("otto"))
    with pytest.raises(NotFound):
        links.issue_link(actor=outsider, artifact_id=made.pk, now=0.0)
