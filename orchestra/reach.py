"""What keeps this program from its database or its Redis, in words for whoever starts it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

#: seconds for one look at Redis
_SECONDS: Final = 5.0
_TLS: Final = re.compile(r"certificate|host name|hostname|SSL|TLS", re.I)


def database_problem(error: Exception, settings: Mapping[str, Any]) -> str:
    """A sentence or two; `settings`: of the connection that could not be opened. Holds no password."""
    if not str(settings["ENGINE"]).endswith("postgresql"):
        return f"The database {settings['NAME']} cannot be opened: {_said(error)}. Look at DATABASE_URL and DATA_DIR."
    where = f"The database server {settings['HOST'] or 'on this machine'}:{settings['PORT'] or 5432}"
    if _TLS.search(str(error)):
        mode = settings.get("OPTIONS", {}).get("sslmode", "prefer")
        return (
            f"{where} cannot be trusted as sslmode={mode} asks: {_said(error)}. In DATABASE_URL, look at the host, "
            "which must be a name in its certificate, and at sslrootcert, the file of the authority that signed it."
        )
    return f"{where} cannot be used: {_said(error)}. Look at DATABASE_URL."


def redis_problem(config: Mapping[str, Any]) -> str:
    """Why the Redis of the channel layer cannot be used, or "". Nothing depends on it: a warning, no reason to stop."""
    import redis

    options = dict(config["hosts"][0])
    address = str(options.pop("address"))
    client = redis.Redis.from_url(address, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, **options)
    try:
        client.ping()
    except redis.RedisError as error:
        found = urlsplit(address)
        where = f"Redis at {found.hostname}:{found.port or 6379}" if found.hostname else "Redis"
        if address.startswith("rediss:") and _TLS.search(str(error)):
            hint = "Look at the host in REDIS_URL, which must be a name in its certificate, and at REDIS_CA."
            return f"{where} is not trusted: {_said(error)}. {hint}"
        return f"{where} cannot be used: {_said(error)}. Look at REDIS_URL. Work goes on without it."
    finally:
        client.close()
    return ""


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = re.sub(r"^(connection (failed|is bad|to server)[^:]*: )+", "", text)
    return re.sub(r" Is the server running.*", "", text)[:400].rstrip("?. ")
