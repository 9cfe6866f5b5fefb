"""Looking at a child from outside."""

from __future__ import annotations

import http.client
import signal


def get_status(host: str, port: int, path: str, name: str = "") -> int:
    """HTTP status of a GET, or 0 when nobody answers. `name`: what to call the host, if not by its address."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": name} if name else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
