"""Resources in an S3-compatible bucket. Imported only where settings.STORAGES says so: its libraries are large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, SSLError
from storages.backends.s3 import S3Storage

from resources.filestore import PART, Readable


class BucketFailed(OSError):
    """The service did not do what was asked. The message never holds a key."""


class BodyOfBucket:
    """What a GET gives; a connection that breaks is an OSError."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1, /) -> bytes:
        with _told("read"):
            data: bytes = self._body.read(None if size < 0 else size)
            return data

    def close(self) -> None:
        self._body.close()


class Bucket(S3Storage):  # type: ignore[misc]  # untyped
    """One part of an upload is in memory at a time; what is read comes in pieces."""

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def put(self, key: str, source: BinaryIO) -> None:
        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
        with _told("store"):
            self._client.upload_fileobj(source, self.bucket_name, key, Config=config)

    def take(self, key: str, path: Path) -> bool:
        with path.open("rb") as source:
            self.put(key, source)
        return False

    def stream(self, key: str, start: int = 0) -> Readable:
        asked = {"Range": f"bytes={start}-"} if start else {}
        with _told("read"):
            return BodyOfBucket(self._client.get_object(Bucket=self.bucket_name, Key=key, **asked)["Body"])

    def length(self, key: str) -> int:
        with _told("read"):
            return int(self._client.head_object(Bucket=self.bucket_name, Key=key)["ContentLength"])

    def delete(self, name: str) -> None:
        with _told("delete"):
            self._client.delete_object(Bucket=self.bucket_name, Key=name)

    def listed(self) -> Iterator[tuple[str, float]]:
        with _told("list"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name):
                for found in page.get("Contents", ()):
                    yield found["Key"], found["LastModified"].timestamp()


@contextmanager
def _told(verb: str) -> Iterator[None]:
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("404", "NoSuchKey", "NotFound"):
            raise FileNotFoundError("The bucket does not have it.") from error
        raise BucketFailed(f"The storage service refused to {verb}: {code}.") from error
    except SSLError as error:
        raise BucketFailed(
            f"The storage service could not {verb}: its certificate is not trusted. Look at the host in "
            "RESOURCES_S3_ENDPOINT, which must be a name in it, and at RESOURCES_S3_CA, who signed it."
        ) from error
    except (BotoCoreError, HTTPError) as error:
        raise BucketFailed(f"The storage service could not {verb}: {type(error).__name__}.") from error
