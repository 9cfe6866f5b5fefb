"""Signals the engine sends inside the transaction that makes them true (rule 7 of the design).

`wait_opened`: run_id, step, item, pass_no, token, kind, spec, expires_at, now.
`wait_closed`: token, reason (answered | expired | withdrawn | superseded), now.
`run_reopened`: run_id, flow_id, trigger: a person had a run that gave up go on.
"""

from __future__ import annotations

from django.dispatch import Signal

wait_opened = Signal()
wait_closed = Signal()
run_reopened = Signal()
