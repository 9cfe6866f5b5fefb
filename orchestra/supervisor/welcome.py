"""How to sign in, in words, from what `manage.py demo_info` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def welcome(info: Any) -> Iterator[str]:
    """Lines to print after the ready line. `info`: {users, sign_in, world_url, …} or None without a demo."""
    if not isinstance(info, dict):
        yield "Sign in with an account of yours; `manage.py invite NAME --admin` makes the first one."
        return
    users = [user if isinstance(user, str) else str(user.get("username", user)) for user in info.get("users", [])]
    if users:
        yield f"Sign in as {', '.join(users)}."
    sign_in = info.get("sign_in")
    if isinstance(sign_in, dict):
        yield from (f"  {name.replace('_', ' ')}: {value}" for name, value in sign_in.items())
    elif sign_in:
        yield f"  {sign_in}"
    if info.get("world_url"):
        yield f"The demo world is at {info['world_url']}"
    yield "Ctrl-C stops it."
