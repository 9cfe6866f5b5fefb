"""Keys of this installation: from the environment, else made once into DATA_DIR (mode 0600)."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def _made_once(path: Path, value: str) -> str:
    """Read `path`, or create it with `value`. Safe when two processes start together: the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(value)
        try:
            os.link(temporary, path)  # fails where somebody was faster: never a half-written key
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text().strip()


def secret_key(data_dir: Path) -> str:
    """Django's SECRET_KEY. Raises ImproperlyConfigured when it can neither be read nor made."""
    try:
        return _made_once(data_dir / "secret_key", secrets.token_urlsafe(48))
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR {data_dir} is not writable: {error.strerror}.") from error


def key_ring(data_dir: Path, text: str) -> dict[str, str]:
    """{key id: base64 of 32 bytes}, newest first. `text`: JSON of the same shape, or empty for the file.

    Raises ImproperlyConfigured for keys of another length or an unreadable ring.
    """
    first = json.dumps({"k1": base64.b64encode(secrets.token_bytes(32)).decode()})
    try:
        ring: dict[str, str] = json.loads(text or _made_once(data_dir / "encryption_keys.json", first))
        ok = bool(ring) and all(len(base64.b64decode(v, validate=True)) == 32 for v in ring.values())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ImproperlyConfigured(f"ENCRYPTION_KEYS cannot be read: {error}") from error
    if not ok:
        raise ImproperlyConfigured("ENCRYPTION_KEYS must be a JSON object of key id to base64 of 32 bytes.")
    return ring
