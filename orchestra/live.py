"""The channel layer, from environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured


def channel_layer(env: environ.Env) -> dict[str, Any]:
    """The entry of CHANNEL_LAYERS; over `rediss://` certificate and name are always checked.

    Raises ImproperlyConfigured.
    """
    url, authority = env.str("REDIS_URL", default=""), env.str("REDIS_CA", default="")
    if not url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured("REDIS_URL must be a redis://, rediss:// or unix:// URL.")
    if authority and not url.startswith("rediss://"):
        raise ImproperlyConfigured("REDIS_CA is for TLS: write REDIS_URL as rediss://…")
    if authority and not Path(authority).is_file():
        raise ImproperlyConfigured(f"REDIS_CA: there is no file {authority}.")
    host: dict[str, Any] = {"address": url}
    if url.startswith("rediss://"):
        host |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": authority or None}
    return {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [host]}}
