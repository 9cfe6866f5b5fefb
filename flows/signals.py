"""Signals of flows, sent inside the transaction that makes them true.

`bindings_changed`: flow (its slug, "" for all flows), connections (names that the changed name stood for).
`live_changed`: flow (its row locked, `live` already the new release), plan, actor (who did it).
"""

from __future__ import annotations

from django.dispatch import Signal

bindings_changed = Signal()
live_changed = Signal()
