"""Signals of flows, sent inside the transaction that makes them true.

`live_changed`: flow (its row locked, `live` already the new release), plan.
"""

from __future__ import annotations

from django.dispatch import Signal

live_changed = Signal()
