"""Which folders the people behind the sockets may see: asked of the database in bulk, kept for seconds."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.contrib.auth import get_user_model
from django.db import close_old_connections
from django.db.models import Q

from resources.access import Actor, covers, folders_for
from resources.models import Grant
from runs.feed.sources import Grants

TTL: Final = 5.0  # seconds; a person who was switched off sees nothing new after it
T = TypeVar("T")
# one thread, so that a slow page never delays a notice, with a database connection of its own
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed")


async def in_database(work: Callable[[], T]) -> T:
    """Run a short piece of ORM code off the event loop."""

    def guarded() -> T:
        close_old_connections()
        return work()

    return await asyncio.get_running_loop().run_in_executor(_thread, guarded)


class Viewer:
    """One person, shared by all of that person's sockets. Sees nothing until `Viewers.refresh`."""

    __slots__ = ("__weakref__", "checked_at", "folders", "user_id")

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.folders: list[str] | None = []
        self.checked_at = -TTL

    def sees(self, folder: str) -> bool:
        return self.folders is None or any(covers(granted, folder) for granted in self.folders)


class Viewers:
    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[int, Viewer] = weakref.WeakValueDictionary()
        self._grants: Grants = ()

    def get(self, user_id: int) -> Viewer:
        viewer = self._known.get(user_id)
        if viewer is None:
            viewer = self._known[user_id] = Viewer(user_id)
        return viewer

    def forget(self) -> None:
        """Roles or groups changed: nobody is told anything before being looked at again."""
        for viewer in list(self._known.values()):
            viewer.checked_at = -TTL

    def notice_grants(self, grants: Grants) -> None:
        if grants != self._grants:
            self._grants = grants
            self.forget()

    async def refresh(self, viewers: Iterable[Viewer]) -> None:
        """Look up those whose knowledge is old. Raises DatabaseError, and then nobody's is fresh."""
        now = time.monotonic()
        old = {v.user_id: v for v in viewers if now - v.checked_at >= TTL}
        if not old:
            return
        found = await in_database(lambda: _folders_of(list(old)))
        for user_id, viewer in old.items():
            viewer.folders = found.get(user_id, [])
            viewer.checked_at = now


def _folders_of(user_ids: list[int]) -> dict[int, list[str] | None]:
    """{user id: folders to view, None for all}: three queries for any number of people."""
    users = get_user_model()._default_manager.in_bulk(user_ids)
    granted: dict[int, list[tuple[str, str]]] = defaultdict(list)
    mine = Grant.objects.filter(user__in=user_ids).values_list("user_id", "role", "folder")
    groups = Grant.objects.filter(Q(group__user__in=user_ids)).values_list("group__user", "role", "folder")
    for user_id, role, folder in (*mine, *groups):
        granted[user_id].append((role, folder))
    return {pk: _folders(user, granted[pk]) for pk, user in users.items()}


def _folders(user: Any, rows: list[tuple[str, str]]) -> list[str] | None:
    plain = user.is_active and not user.is_superuser
    read = {"grants": tuple(rows)} if plain else {}  # what the actor would read one by one
    return folders_for(Actor("user", user.get_username(), user, _cache=read), "viewer")
