"""Requests as people see them: without what their runs call sensitive, and without the keys that answer waits.

What is decided on, and its digest, are true.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from approvals.models import ApprovalRequest, Decision
from flows.definition.sensitive import blank, marks, texts
from runs.hidden import hide
from runs.sensitive.rows import of_run, of_runs
from runs.sensitive.veil import NOTHING, Veil

Json = Any


def veil_of(request: ApprovalRequest) -> Veil:
    return _with_votes(request, NOTHING if request.run is None else of_run(request.run))


def _with_votes(request: ApprovalRequest, veil: Veil) -> Veil:
    """What the forms of votes say is in the actions before it is the step's output."""
    if not marks(request.form_schema):
        return veil
    return veil.plus(text for vote in request.decisions.all() for text in texts(request.form_schema, vote.form))


def veils_of(requests: Sequence[ApprovalRequest]) -> dict[str, Veil]:
    """By request. Reads `run.release` of each."""
    runs = {request.run.pk: request.run for request in requests if request.run is not None}
    found = of_runs(list(runs.values())) if runs else {}
    return {request.pk: _with_votes(request, found.get(request.run_id or "", NOTHING)) for request in requests}


def show(request: ApprovalRequest, veil: Veil) -> ApprovalRequest:
    """The same object, to be shown only: nothing of it may be saved, and nothing decided on what it says."""
    request.title, request.summary = hide(veil.text(request.title)), hide(veil.text(request.summary))
    request.actions = actions(veil, request.actions)
    return request


def actions(veil: Veil, of: Json) -> Json:
    """As they are shown: without what is sensitive, and without the keys that answer waits."""
    return hide(veil.actions(of))


def show_all(requests: Iterable[ApprovalRequest]) -> list[ApprovalRequest]:
    rows = list(requests)
    veils = veils_of(rows)
    return [show(row, veils[row.pk]) for row in rows]


def form_of(request: ApprovalRequest, decision: Decision, veil: Veil) -> Json:
    """What a vote's form said."""
    return veil.tree(blank(request.form_schema, decision.form))
