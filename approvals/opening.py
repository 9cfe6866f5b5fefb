"""Requests come and go with the engine's waits, in the same transaction as these."""

from __future__ import annotations

from typing import Any

from approvals.models import ApprovalRequest, NamedReviewer
from resources.errors import Conflict
from runs import history
from runs.models import Run

KIND = "approval"
_CLOSED_AS = {
    "expired": ApprovalRequest.Status.EXPIRED,
    "withdrawn": ApprovalRequest.Status.WITHDRAWN,
    "superseded": ApprovalRequest.Status.SUPERSEDED,
}


def wait_opened(
    sender: Any,
    *,
    run_id: str,
    step: str,
    item: int,
    pass_no: int,
    token: str,
    kind: str,
    spec: dict[str, Any],
    expires_at: float | None,
    now: float,
    **_: Any,
) -> None:
    """Receiver of runs.signals.wait_opened."""
    if kind != KIND:
        return
    run = Run.objects.select_related("flow", "release").get(pk=run_id)
    previous = ApprovalRequest.objects.filter(run=run, step=step, item=item).order_by("-created_at", "-pk").first()
    if previous is not None and previous.status == ApprovalRequest.Status.OPEN:
        _close(previous, "superseded", now)
    request = _create(
        run, spec, step=step, item=item, pass_no=pass_no, token=token, expires_at=expires_at, created_at=now,
        previous=previous,
    )  # fmt: skip
    data = {"request": request.pk, "title": request.title}
    history.append(run_id, "approval.requested", step=step, item=item, data=data)


def _create(run: Run, spec: dict[str, Any], **fields: Any) -> ApprovalRequest:
    reviewers = dict(spec.get("reviewers") or {})
    request = ApprovalRequest.objects.create(
        run=run,
        folder=run.flow.folder,
        title=spec["title"][:300],
        summary=spec.get("summary") or "",
        actions=spec["actions"],
        digest=spec["digest"],
        form_schema=spec.get("form") or {},
        irreversible=bool(spec.get("irreversible")),
        quorum=int(reviewers.get("quorum") or 1),
        reviewers=reviewers,
        on_expiry=spec.get("on_expiry") or "reject",
        **fields,
    )
    request.excluded.set(_excluded_ids(run, reviewers.get("exclude") or ()))
    NamedReviewer.objects.bulk_create(
        NamedReviewer(request=request, kind=kind, name=name)
        for kind, names in (("user", reviewers.get("users")), ("group", reviewers.get("groups")))
        for name in dict.fromkeys(names or ())
    )
    return request


def _excluded_ids(run: Run, exclude: Any) -> set[int]:
    people = {"starter": run.starter_id, "author": run.release.released_by_id}
    return {pk for name in exclude if (pk := people[name]) is not None}


def wait_closed(sender: Any, *, token: str, reason: str, now: float, **_: Any) -> None:
    """Receiver of runs.signals.wait_closed. Raises Conflict when an open request is answered without a decision."""
    request = ApprovalRequest.objects.select_for_update().filter(token=token).first()
    if request is None or request.status != ApprovalRequest.Status.OPEN:
        return  # not an approval, or closed by the decision that is being delivered
    if reason == "answered":
        raise Conflict("An approval is answered by deciding its request, and in no other way.", code="not_a_decision")
    _close(request, reason, now)


def _close(request: ApprovalRequest, reason: str, now: float) -> None:
    request.status = _CLOSED_AS[reason]
    request.closed_at = now
    request.save(update_fields=["status", "closed_at"])
    if request.run_id is None:
        return
    history.append(
        request.run_id, f"approval.{reason}", step=request.step, item=request.item, data={"request": request.pk}
    )
