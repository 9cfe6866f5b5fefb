"""Keys of this installation: from the environment, else made once into DATA_DIR (mode 0600)."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


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


def key_ring(data_dir: Path, text: str = "", file: str = "") -> tuple[dict[str, str], str]:
    """({key id: base64 of 32 bytes}, newest first; where it came from: "environment", "file" or "made").

    `text`: JSON of the same shape; `file`: one that holds it and is nobody else's to read. With neither, a ring is
    made once into `data_dir`. Raises ImproperlyConfigured for keys of another length or an unreadable ring.
    """
    if text and file:
        raise ImproperlyConfigured("Set ENCRYPTION_KEYS or ENCRYPTION_KEYS_FILE, not both.")
    source = "environment" if text else "file" if file else "made"
    first = json.dumps({"k1": base64.b64encode(secrets.token_bytes(32)).decode()})
    made = data_dir / "encryption_keys.json"
    try:
        return _checked(text or (_private(Path(file)) if file else _made_once(made, first))), source
    except OSError as error:
        raise ImproperlyConfigured(f"{file or made} cannot be read: {error.strerror}.") from error


def _private(path: Path) -> str:
    """A group may read it, as in the volumes that hold secrets; nobody else, and nobody may write to it but its owner.

    Raises OSError, ImproperlyConfigured.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o037:
        raise ImproperlyConfigured(f"{path} has mode {mode:04o}, so that others can get at the keys: chmod 0600 {path}")
    return path.read_text()


def _checked(text: str) -> dict[str, str]:
    try:
        ring = json.loads(text, object_pairs_hook=_once)
        ok = bool(ring) and all(len(base64.b64decode(v, validate=True)) == 32 for v in ring.values())
    except (ValueError, AttributeError, TypeError, RecursionError):
        ok = False  # said without the error, which may quote a key
    if not ok:
        raise ImproperlyConfigured("ENCRYPTION_KEYS must be a JSON object of key id to base64 of 32 bytes.")
    if not all(KEY_ID.fullmatch(key_id) for key_id in ring):
        raise ImproperlyConfigured("The id of a key in ENCRYPTION_KEYS is 1 to 32 letters, digits, - and _.")
    return dict(ring)


def _once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key's id is there twice")
    return dict(pairs)
