"""Links to upload to: one file, once, by PUT, as large and of the type that was said; and what uploads may weigh."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test import Client

from orchestra import spool, uploading
from orchestra.api import api as api_root
from resources import artifacts, quotas
from resources.errors import Gone, NotFound, OrchestraError
from resources.keeping import Duty
from resources.models import Artifact, AuditEntry, Blob, UploadLink
from resources.receiving import links
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
WANTED = {"name": "build.log", "folder": "payments", "content_type": "text/plain", "max_bytes": 1000,
          "labels": {"team": "a"}}  # fmt: skip


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_user("oli", "operator", folder="payments"))
    return client


def api(client: Client, method: str, path: str, body: Any = None) -> Any:
    data = "" if body is None else json.dumps(body)
    return client.generic(method.upper(), f"/api/v1{path}", data, content_type="application/json")


def issued(client: Client, **more: Any) -> tuple[str, str]:
    """(id, path) of a new link."""
    answer = api(client, "post", "/upload-links", {**WANTED, **more})
    assert answer.status_code == 201, answer.content
    return answer.json()["id"], "/shared/" + answer.json()["url"].rsplit("/shared/")[1]


def put(path: str, data: bytes, content_type: str = "text/plain") -> Any:
    """As a program elsewhere: no session, no token, no CSRF."""
    return Client(enforce_csrf_checks=True).put(path, data, content_type=content_type)


def test_a_link_takes_one_file_by_put_without_signing_in_and_then_nothing(operator: Client) -> None:
    pk, path = issued(operator)
    sent = put(path, b"all is well\n")
    row = Artifact.objects.get()
    assert (sent.status_code, sent.json()) == (
        201,
        {"resource": str(row), "size": 12, "sha256": hashlib.sha256(b"all is well\n").hexdigest()},
    )
    assert (row.name, row.folder, row.content_type, row.labels) == (
        "build.log",
        "payments",
        "text/plain",
        {"team": "a"},
    )
    assert (row.created_by, row.keep, artifacts.read(row)) == ("oli", "forever", b"all is well\n")
    assert AuditEntry.objects.get(action="resource.uploaded").actor == "upload link of oli"
    again = put(path, b"all is well\n")
    assert (again.status_code, again.json()["error"]["code"]) == (410, "link_used")
    listed = api(operator, "get", "/upload-links").json()["items"]
    assert [(one["id"], one["state"], one["resource"]) for one in listed] == [(pk, "used", str(row))]
    assert api(operator, "delete", f"/upload-links/{pk}").json()["error"]["code"] == "link_used"
    assert Artifact.objects.count() == 1


REFUSED = [
    (b"x" * 1001, "text/plain", 413, "too_large", "at most 1000 bytes"),
    (b"x", "text/csv", 422, "wrong_type", "takes text/plain, not text/csv"),
    (b"", "text/plain", 422, "empty", "Nothing came"),
]


@pytest.mark.parametrize(("data", "kind", "status", "code", "said"), REFUSED)
def test_what_it_does_not_take_is_refused_with_a_sentence_and_leaves_it_open(
    data: bytes, kind: str, status: int, code: str, said: str, operator: Client
) -> None:
    pk, path = issued(operator)
    answer = put(path, data, kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert said in answer.json()["error"]["message"]
    assert (Artifact.objects.count(), Blob.objects.count()) == (0, 0)
    assert UploadLink.objects.get(pk=pk).state(time.time()) == "open"
    assert put(path, b"x" * 1000, "").status_code == 201  # as curl -T sends it: without a type


def test_it_is_for_put_alone_and_a_link_to_download_takes_nothing(operator: Client) -> None:
    _, path = issued(operator)
    stranger = Client()
    assert stranger.get(path).status_code == stranger.head(path).status_code == 404
    assert stranger.post(path, b"x", content_type="text/plain").status_code == 405
    assert stranger.delete(path).status_code == 405
    made = artifacts.write([b"kept"], content_type="text/plain", folder="payments")
    url = api(operator, "post", f"/resources/{made.pk}/links", {}).json()["url"]
    answer = put("/shared/" + url.rsplit("/shared/")[1], b"other")
    assert (answer.status_code, artifacts.read(artifacts.get(made.pk))) == (404, b"kept")
    forged = put(path[:-1] + ("A" if path[-1] != "A" else "B"), b"x")
    assert (forged.status_code, Artifact.objects.count()) == (404, 1)


def test_it_ends_with_its_time_or_when_it_is_revoked(operator: Client) -> None:
    pk, path = issued(operator)
    token = path.removeprefix("/shared/")
    assert UploadLink.objects.get(pk=pk).expires_at == pytest.approx(time.time() + 3600, abs=300)  # an hour
    with pytest.raises(Gone, match="over"):
        links.opened(token, time.time() + 3601)
    assert api(operator, "delete", f"/upload-links/{pk}").status_code == 204
    assert api(operator, "delete", f"/upload-links/{pk}").status_code == 204
    assert put(path, b"x").json()["error"]["code"] == "link_revoked"
    assert AuditEntry.objects.filter(action="upload_link.revoked").count() == 1
    Duty().turn(time.time() + 3601 + links.LISTED)
    assert not UploadLink.objects.exists()
    assert put(path, b"x").json()["error"]["code"] == "link_over"


def test_only_operators_of_the_folder_make_see_and_revoke_links(operator: Client) -> None:
    pk, path = issued(operator)
    for name, role, folder, status in (("eve", "admin", "ops", 404), ("vera", "viewer", "payments", 403)):
        other = Client()
        other.force_login(make_user(name, role, folder=folder))
        assert api(other, "post", "/upload-links", WANTED).status_code == 403
        assert api(other, "get", "/upload-links").json()["items"] == []
        assert api(other, "delete", f"/upload-links/{pk}").status_code == status
        assert other.post(f"/resources/upload-links/{pk}/revoke").status_code == status
    assert put(path, b"x").status_code == 201


WRONG = [
    {"expires_in": 0}, {"expires_in": 604801}, {"max_bytes": 0}, {"max_bytes": 2**50}, {"name": " . "},
    {"content_type": "text"}, {"folder": ".."}, {"labels": {"A": ""}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_links_that_make_no_sense_are_not_made(wrong: dict[str, Any], operator: Client) -> None:
    answer = api(operator, "post", "/upload-links", {**WANTED, **wrong})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["path"] in {*wrong, "labels"}
    assert not UploadLink.objects.exists()


def test_nobody_has_more_than_a_hundred_open(operator: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(links, "MANY", 2)
    pk, _ = issued(operator)
    issued(operator)
    assert api(operator, "post", "/upload-links", WANTED).status_code == 429
    api(operator, "delete", f"/upload-links/{pk}")
    issued(operator)


@pytest.mark.django_db(transaction=True)
def test_of_files_that_come_at_once_one_is_kept(operator: Client) -> None:
    _, path = issued(operator)

    def send(number: int) -> int:
        with contextlib.closing(connection):
            return int(put(path, b"%d" % number).status_code)

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(send, range(8)))
    assert answers == [201] + [410] * 7
    assert Artifact.objects.count() == 1
    assert UploadLink.objects.get().artifact_id == Artifact.objects.get().pk


def test_how_much_body_a_link_lets_in_is_known_before_any_of_it_is_read(operator: Client) -> None:
    pk, path = issued(operator, max_bytes=50_000_000)

    def limit(path: str) -> int:
        scope = {"type": "http", "method": "PUT", "path": path, "headers": [], "query_string": b""}
        assert spool.may_be_large(scope)
        return spool.limit(ASGIRequest(scope, io.BytesIO()))

    assert limit(path) == 50_000_000
    with pytest.raises(NotFound):
        limit("/shared/nonsense")
    api(operator, "delete", f"/upload-links/{pk}")
    with pytest.raises(Gone):
        limit(path)


def test_the_page_makes_a_link_shows_it_once_and_revokes_it(operator: Client) -> None:
    assert "No links yet" in operator.get("/resources/upload-links").content.decode()
    form = {"name": "rows.csv", "folder": "payments", "content_type": "text/csv", "max_mib": "5", "expires_in": "86400"}
    page = operator.post("/resources/upload-links", form).content.decode()
    path = "/shared/" + page.split("/shared/")[1].split("<")[0].strip()
    assert (
        "curl --fail-with-body -T FILE" in page
        and "/shared/" not in operator.get("/resources/upload-links").content.decode()
    )
    assert put(path, b"a,b\n", "text/csv").status_code == 201
    row = UploadLink.objects.get()
    assert (row.max_bytes, row.created_by, row.artifact and row.artifact.name) == (5 * 1024**2, "oli", "rows.csv")
    refused = operator.post(f"/resources/upload-links/{row.pk}/revoke", follow=True).content.decode()
    assert "The link was used already." in refused
    operator.post("/resources/upload-links", form)
    second = UploadLink.objects.exclude(pk=row.pk).get()
    gone = operator.post(f"/resources/upload-links/{second.pk}/revoke", follow=True).content.decode()
    assert "The link for rows.csv is revoked." in gone
    wrong = operator.post("/resources/upload-links", {**form, "folder": "ops"})
    assert (wrong.status_code, UploadLink.objects.count()) == (422, 2)


# -- what uploads may weigh ---------------------------------------------------------------------------------


def ways(client: Client, kind: str, data: bytes) -> list[Any]:
    """The answers of every way to upload."""
    begun = {"size": len(data), "name": "x", "content_type": kind, "folder": "payments"}
    form = {"file": io.BytesIO(data), "folder": "payments"}
    form["file"].name = "x.png" if kind == "image/png" else "x.bin"  # type: ignore[attr-defined]
    return [
        client.post("/api/v1/resources?folder=payments", data, content_type=kind),
        api(client, "post", "/uploads", begun),
        client.post("/resources/upload", form),
    ]


def test_a_type_has_a_limit_of_its_own_on_every_way_in(operator: Client, settings: Any) -> None:
    settings.UPLOAD_LIMITS = {"image/*": 100, "image/gif": 5}
    for answer in ways(operator, "image/png", b"x" * 101):
        assert answer.status_code in (413, 422)
        assert "A resource of the type image/png has at most 100 bytes" in answer.content.decode()
    _, path = issued(operator, content_type="", max_bytes=500)
    assert "at most 100 bytes" in put(path, b"x" * 101, "image/png").content.decode()
    assert not Artifact.objects.exists()
    assert [answer.status_code for answer in ways(operator, "image/png", b"x" * 100)] == [201, 201, 302]
    assert quotas.most_of("image/gif") == 5
    assert quotas.most_of("text/csv") == settings.MAX_RESOURCE_BYTES


def test_types_that_are_not_taken_are_named_with_those_that_are(operator: Client, settings: Any) -> None:
    settings.UPLOAD_LIMITS = {"*/*": 0, "text/*": 10**6}
    for answer in ways(operator, "image/png", b"x"):
        assert answer.status_code == 422
        assert "Files of the type image/png are not taken here." in answer.content.decode()
        assert "Taken are text/*." in answer.content.decode()
    assert api(operator, "post", "/upload-links", {**WANTED, "content_type": "image/png"}).status_code == 422
    assert put(issued(operator)[1], b"x").status_code == 201


def test_all_uploads_together_have_a_limit_that_is_said(operator: Client, settings: Any) -> None:
    settings.MAX_UPLOADED_BYTES = 250
    artifacts.write([b"x" * 1000], content_type="text/plain", run_id="0" * 26, folder="payments")  # runs do not count
    assert [a.status_code for a in ways(operator, "text/plain", b"x" * 80)] == [201, 201, 302]
    for answer in ways(operator, "text/plain", b"y" * 80):
        assert answer.status_code in (413, 422)
        assert (
            "All uploads together have at most 250 bytes (250 bytes); 240 bytes are there or announced"
            in answer.content.decode()
        )
    assert put(issued(operator)[1], b"x" * 80).json()["error"]["code"] == "uploads_full"
    assert Artifact.objects.filter(run_id="").count() == 2
    assert UploadLink.objects.get().used_at is None


def test_an_announced_upload_that_fits_is_completed(operator: Client, settings: Any) -> None:
    settings.MAX_UPLOADED_BYTES = 100
    begun = api(operator, "post", "/uploads", {"size": 100, "name": "x", "folder": "payments"}).json()
    operator.put(f"/api/v1/uploads/{begun['id']}?offset=0", b"z" * 100, content_type="application/octet-stream")
    digest = {"sha256": hashlib.sha256(b"z" * 100).hexdigest()}
    assert api(operator, "post", f"/uploads/{begun['id']}/complete", digest).status_code == 201


def test_limits_are_read_from_a_setting_and_nonsense_stops_the_start() -> None:
    assert uploading.limits("") == {}
    assert uploading.limits("image/*=20000000, text/csv = 0,*/*=5") == {"image/*": 20000000, "text/csv": 0, "*/*": 5}
    for wrong in ("image", "image/*=", "image/*=1MB", "image/*=-1", "=5"):
        with pytest.raises(ImproperlyConfigured, match="UPLOAD_LIMITS"):
            uploading.limits(wrong)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (20 * 1024**2, "20 MiB"), (4 * 1024**3, "4 GiB")],
)
def test_sizes_are_said_for_people(size: int, text: str) -> None:
    assert quotas.said(size) == text


def test_every_list_of_the_api_has_a_bound(operator: Client) -> None:
    paths = api_root.get_openapi_schema(path_prefix="")["paths"]
    asked = [(path, one) for path, ops in paths.items() for one in ops.get("get", {}).get("parameters", ())]
    unbounded = [
        path for path, one in asked if one["name"] == "limit" and not {"minimum", "maximum"} <= set(one["schema"])
    ]
    assert unbounded == []
    assert api(operator, "get", "/resources?limit=-1").status_code == 422
    assert api(operator, "get", "/upload-links?limit=1000").status_code == 422


def test_errors_of_a_link_are_ours() -> None:
    with pytest.raises(OrchestraError):
        links.opened("", 0.0)
