"""Runs of child flows: started by the wait of a `call` step, in the transaction that opens it.

A child is known by the token of the wait it answers. Its end puts the parent's step on the queue; the worker that takes
it reads how the child ended. So neither transaction ever locks both runs. Nobody outside can answer such a wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import connection

from flows.definition.plan import Plan
from flows.models import Release
from flows.steps.call.config import MAX_DEPTH
from resources.access import Actor
from resources.errors import BadInput, Conflict, NotAllowed, NotFound, OrchestraError, TooMany
from runs import bell, looks
from runs.models import ENDED, Run, WaitToken
from runs.queue_rows import Line

if TYPE_CHECKING:
    from runs.store import Loaded

Json = Any
KIND = "child"
_CLOSE = """
INSERT INTO runs_work (kind, run_id, step, item, name, queue, long, wake_at, fence)
SELECT 'close', id, '', -1, 'parent', 'default', false, %s, 0 FROM runs_run WHERE id = %s AND ended_at IS NULL
ON CONFLICT (run_id, step, item, kind, name) DO NOTHING
"""
#: how the refusal of a start reads as an error of the step
_CLASSES = {"deadlock": "deadlock", "invalid_input": "input"}


def begin(loaded: Loaded, row: WaitToken, spec: Mapping[str, Json], now: float) -> bool:
    """Start the child of a wait that opens. True when it could not: then the answer is there already."""
    from runs import actions  # which needs this module for its own runs

    above = loaded.state.run_id
    try:
        _check_depth(above)
        release = Release.objects.select_related("flow").get(pk=spec["release"])
        started = actions.start_run(
            actor=Actor.trigger(f"run {above}", loaded.folder, ""),
            flow=release.flow,
            release=release,
            input=spec["input"],
            trigger={"kind": "call", "name": loaded.flow, "run": above, "step": row.step},
            idempotency_key=row.token,
            source="call",
            parent=actions.Parent(above, row.step, row.item),
            test=bool(loaded.state.trigger.get("test")),
        )
    except (BadInput, Conflict, NotAllowed, NotFound, TooMany, Release.DoesNotExist) as error:
        row.answer, row.status, row.answered_at = {"refused": _refusal(error, spec)}, WaitToken.Status.ANSWERED, now
        row.save(update_fields=["answer", "status", "answered_at"])
        return True
    row.response = {"run": started.run.pk}
    row.save(update_fields=["response"])
    return False


def _check_depth(above: str) -> None:
    """Raises Conflict `too_deep`."""
    depth = Run.objects.values_list("depth", flat=True).get(pk=above)
    if depth >= MAX_DEPTH:
        raise Conflict(f"It would be {depth + 1} runs deep; {MAX_DEPTH} are allowed.", code="too_deep")


def _refusal(error: Exception, spec: Mapping[str, Json]) -> dict[str, Json]:
    code = error.stable_code if isinstance(error, OrchestraError) else "not_found"
    message = error.message if isinstance(error, OrchestraError) else "Its release is gone."
    return {
        "class": _CLASSES.get(code, "refused"),
        "message": f"The child flow {spec['flow']} {spec['version']} was not started: {message}",
        "details": {"code": code},
    }


def answer_of(token: str) -> Mapping[str, Json] | None:
    """{"payload": how the child came out} once it has ended or was refused, else None."""
    row = WaitToken.objects.filter(token=token).only("answer", "response").first()
    if row is None:
        return None
    if row.answer is not None:
        return {"payload": row.answer}
    child = Run.objects.filter(pk=(row.response or {}).get("run"), status__in=ENDED).first()
    if child is None:
        return None
    return {"payload": {"run": child.pk, "status": child.status, "output": child.output, "error": child.error}}


def wake_parent(run_id: str, now: float) -> None:
    """A run ended: whoever called it is to look."""
    from runs import store, waits

    child = Run.objects.select_related("parent").filter(pk=run_id, parent__isnull=False).first()
    if child is None or child.parent is None or child.parent.ended:
        return
    above = child.parent
    plan: Plan = store.plan_of(above.release_id)
    line = Line(above.flow_id, above.priority, now)
    waits.wake(plan, above.pk, child.parent_step, child.parent_item, now, held=False, line=line)


def let_go(token: str, reason: str, spec: Mapping[str, Json], now: float) -> None:
    """The wait ends: with its child, or without it. Then the child is cancelled or left alone, as the step says."""
    row = WaitToken.objects.select_for_update().filter(token=token).first()
    if row is None:
        return
    if reason == "answered":
        row.status, row.answered_at = WaitToken.Status.ANSWERED, now
        row.save(update_fields=["status", "answered_at"])
        return
    child = (row.response or {}).get("run")
    if child is not None and spec.get("on_parent_close") == "cancel":
        with connection.cursor() as cursor:
            cursor.execute(_CLOSE, [now, child])
        bell.ring_on_commit(bell.WORK)


def close(run_id: str) -> None:
    """Cancel a child whose caller no longer waits for it."""
    from runs.admission import cancel

    above = Run.objects.filter(children__pk=run_id).values_list("pk", flat=True).first()
    cancel(run_id, f"The run that called it, {above or 'which is gone'}, no longer waits for it.")


def of_step(run_id: str, step: str, limit: int = 100) -> list[dict[str, Any]]:
    """The children that this step of a run called, the newest first: {id, flow, item, state, label}."""
    rows = Run.objects.filter(parent_id=run_id, parent_step=step).order_by("-created_at")
    found = rows.values_list("pk", "flow__slug", "parent_item", "status")[:limit]
    return [
        {"id": pk, "flow": flow, "item": None if item < 0 else item, "state": look[0], "label": look[1]}
        for pk, flow, item, status in found
        for look in (looks.of_run(status),)
    ]
