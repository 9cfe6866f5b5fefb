"""Telling people in the product: one row a person, once a key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Q

from resources.models import Notice, NoticeMute

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|<>~-])")
#: people told at once
MAX_PEOPLE = 1000
#: characters of a text that are kept
MAX_TEXT = 20_000


def find(users: Iterable[str], groups: Iterable[str]) -> tuple[list[int], list[str]]:
    """(ids of the active people named, once each, at most MAX_PEOPLE and one more; names that nobody has)."""
    users, groups = set(users), set(groups)
    known: Any = get_user_model().objects.filter(is_active=True)
    named = known.filter(Q(username__in=users) | Q(groups__name__in=groups)).distinct()
    ids = list(named.order_by("pk").values_list("pk", flat=True)[: MAX_PEOPLE + 1])
    there = set(known.filter(username__in=users).values_list("username", flat=True))
    there_groups = set(Group.objects.filter(name__in=groups).values_list("name", flat=True))
    return ids, sorted(users - there) + sorted(f"group {name}" for name in groups - there_groups)


def plain(text: str) -> str:
    """Plain text as Markdown that shows it as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def tell(ids: Iterable[int], *, key: str, kind: str, title: str, text: str = "", url: str = "", now: float) -> None:
    """In the caller's transaction. Who has this key already is told nothing more, who muted the kind nothing at all."""
    wanted = set(ids)
    chosen = dict(NoticeMute.objects.filter(kind=kind, user__in=wanted).values_list("user_id", "how"))
    rows = [
        Notice(
            user_id=pk,
            key=key,
            kind=kind,
            title=title[:300],
            text=text[:MAX_TEXT],
            url=url,
            at=now,
            mail=chosen.get(pk) == NoticeMute.How.EMAIL,
        )
        for pk in sorted(wanted)
        if chosen.get(pk) != NoticeMute.How.NONE
    ]
    Notice.objects.bulk_create(rows, ignore_conflicts=True, batch_size=200)
