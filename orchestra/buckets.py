"""The storage of resources in a bucket, from environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured


def storage(env: environ.Env) -> dict[str, Any] | None:
    """The entry of STORAGES, or None where RESOURCES_S3_BUCKET is not set: files. Raises ImproperlyConfigured."""
    bucket = env.str("RESOURCES_S3_BUCKET", default="")
    if not bucket:
        return None
    endpoint = env.str("RESOURCES_S3_ENDPOINT", default="")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise ImproperlyConfigured("RESOURCES_S3_ENDPOINT must be an http(s):// URL.")
    key, secret = env.str("RESOURCES_S3_ACCESS_KEY", default=""), env.str("RESOURCES_S3_SECRET_KEY", default="")
    if bool(key) != bool(secret):
        raise ImproperlyConfigured("Set both of RESOURCES_S3_ACCESS_KEY and RESOURCES_S3_SECRET_KEY, or neither.")
    authority = env.str("RESOURCES_S3_CA", default="")
    if authority and not Path(authority).is_file():
        raise ImproperlyConfigured(f"RESOURCES_S3_CA: there is no file {authority}.")
    options = {
        "bucket_name": bucket,
        "endpoint_url": endpoint or None,
        "region_name": env.str("RESOURCES_S3_REGION", default="us-east-1"),
        "access_key": key or None,
        "secret_key": secret or None,
        "verify": authority or None,
        "signature_version": "s3v4",  # the library's default is the older one
        "addressing_style": env.str("RESOURCES_S3_ADDRESSING", default="path" if endpoint else "auto"),
        "default_acl": None,
    }
    return {"BACKEND": "resources.bucket.Bucket", "OPTIONS": options}
