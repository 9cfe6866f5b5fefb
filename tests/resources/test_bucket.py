"""Resources in an S3-compatible bucket: a server on loopback that speaks the protocol, plain and over TLS."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestra import buckets
from resources import artifacts, blobs
from resources.filestore import store
from resources.models import Artifact, Blob
from tests.resources.moto_server import running
from tests.tls import Authority

MIB = 1024 * 1024
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.db_matrix,
    # botocore's own, about itself
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("s3")) as url:
        yield url


def configured(settings: Any, monkeypatch: Any, url: str, bucket: str, **more: str) -> None:
    wanted = {"BUCKET": bucket, "ENDPOINT": url, "ACCESS_KEY": "me", "SECRET_KEY": "secret-key", **more}
    for name, value in wanted.items():
        monkeypatch.setenv(f"RESOURCES_S3_{name}", value)
    settings.STORAGES = {**settings.STORAGES, "resources": buckets.storage(environ.Env())}


@pytest.fixture
def bucket(server: str, settings: Any, monkeypatch: Any, tmp_path: Path) -> Any:
    settings.MEDIA_ROOT = tmp_path / "spool"
    configured(settings, monkeypatch, server, f"b{os.urandom(6).hex()}")
    found: Any = store()
    found._client.create_bucket(Bucket=found.bucket_name)
    return found


def pieces(size: int) -> Iterator[bytes]:
    piece = os.urandom(256 * 1024)
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.parametrize("secret", [False, True])
def test_20_mib_go_through_the_bucket_in_parts_and_in_little_memory(bucket: Any, settings: Any, secret: bool) -> None:
    settings.ENCRYPT_RESOURCES = secret
    artifacts.store(b"warm")
    tracemalloc.start()
    try:
        made = artifacts.write(pieces(20 * MIB), content_type="application/octet-stream")
        digest = hashlib.sha256()
        with artifacts.open_(made.pk) as file:
            while piece := file.read(MIB):
                digest.update(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == made.sha256
    assert peak < 40 * MIB
    assert "-3" in bucket._client.head_object(Bucket=bucket.bucket_name, Key=made.blob.key)["ETag"]  # three parts
    assert [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()] == []


def test_it_is_kept_once_read_from_anywhere_and_deleted_with_its_last_name(bucket: Any) -> None:
    data = os.urandom(3 * MIB)
    one, two = (artifacts.write([data], content_type="x/y") for _ in range(2))
    assert [key for key, _ in store().listed()] == [one.blob.key]
    with artifacts.open_row(two, 2 * MIB) as file:
        assert file.read() == data[2 * MIB :]
    one.delete()
    assert blobs.sweep_unused() == 0
    two.delete()
    assert blobs.sweep_unused() == 1
    assert list(store().listed()) == []


def test_an_object_that_is_gone_is_said_and_written_again(bucket: Any) -> None:
    made = artifacts.store(b"data")
    store().delete(made.blob.key)
    with pytest.raises(artifacts.ArtifactDamaged):
        artifacts.open_(made.pk)
    artifacts.store(b"data")
    assert artifacts.read(artifacts.get(made.pk)) == b"data"


def test_a_service_that_refuses_or_is_away_leaves_no_row_and_says_no_key(
    bucket: Any, settings: Any, monkeypatch: Any
) -> None:
    configured(settings, monkeypatch, "http://127.0.0.1:9", "nowhere")
    with pytest.raises(OSError, match="storage service") as refused:
        artifacts.store(b"data")
    assert "secret-key" not in str(refused.value)
    assert (Artifact.objects.count(), Blob.objects.count()) == (0, 0)


def test_requests_are_signed_the_newer_way(bucket: Any) -> None:
    url = bucket.url("00/aa")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


BAD = [
    ({"ENDPOINT": "ftp://x"}, "http"),
    ({"SECRET_KEY": ""}, "both"),
    ({"CA": "/nowhere.pem"}, "no file"),
]


@pytest.mark.parametrize(("change", "why"), BAD)
def test_settings_that_make_no_sense_stop_the_start(change: dict[str, str], why: str, monkeypatch: Any) -> None:
    wanted = {"BUCKET": "b", "ENDPOINT": "https://s3", "ACCESS_KEY": "a", "SECRET_KEY": "b", "CA": "", **change}
    for name, value in wanted.items():
        monkeypatch.setenv(f"RESOURCES_S3_{name}", value)
    with pytest.raises(ImproperlyConfigured, match=why):
        buckets.storage(environ.Env())


@pytest.mark.parametrize("setting", ["RESOURCES_S3_CA", "AWS_CA_BUNDLE"])
def test_tls_to_the_service_is_checked_against_the_authority_that_was_set(
    tmp_path: Path, settings: Any, monkeypatch: Any, setting: str
) -> None:
    settings.MEDIA_ROOT = tmp_path / "spool"
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    pair = authority.pair("127.0.0.1")
    argv = ("--ssl-cert", str(pair.certificate), "--ssl-key", str(pair.key))
    with running(tmp_path, *argv, scheme="https") as url:
        monkeypatch.setenv(setting, str(authority.file))
        configured(settings, monkeypatch, url, "safe")
        found: Any = store()
        found._client.create_bucket(Bucket="safe")
        made = artifacts.store(b"over TLS")
        assert artifacts.read(made) == b"over TLS"
        wrong = [(url, stranger), (url.replace("127.0.0.1", "localhost"), authority)]
        for address, trusted in wrong:
            monkeypatch.setenv(setting, str(trusted.file))
            configured(settings, monkeypatch, address, "safe")
            with pytest.raises(OSError, match=r"certificate is not trusted\. Look at the host in RESOURCES_S3_E"):
                artifacts.store(b"to a stranger")
    assert (Artifact.objects.count(), Blob.objects.count()) == (1, 1)
    assert [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()] == []
