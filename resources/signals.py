"""Signals of this layer, sent inside the transaction that makes them true.

`limits_changed`: connection_id, gone (True where it is about to be deleted). Who waits for a limit may go on now.
"""

from __future__ import annotations

from django.dispatch import Signal

limits_changed = Signal()
