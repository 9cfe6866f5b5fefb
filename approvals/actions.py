"""Deciding: the one way a request gets an answer. Web page, API and CLI all call `decide_request`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from approvals import facts, forms, policy, veiled
from approvals.clock import database_now
from approvals.models import ApprovalRequest, Decision
from flows.definition.sensitive import blank
from resources import audit
from resources.access import Actor, require_on
from resources.errors import BadInput, Conflict, NotAllowed, NotFound
from runs import history
from runs.actions import deliver
from runs.hidden import hide
from runs.models import Run

MAX_COMMENT = 10_000  # characters
TRIES = 5  # times the run may move between resolving a form and deciding
_DELIVERED = {"accepted", "early"}


@dataclass(frozen=True, slots=True)
class Ballot:
    verdict: str
    digest: str
    comment: str


class _Moved(Exception):
    """The run changed after the form was resolved: resolve it again."""


def decide_request(
    *,
    actor: Actor,
    request_id: str,
    verdict: str,
    digest: str,
    comment: str = "",
    form: dict[str, Any] | None = None,
    now: float | None = None,
) -> ApprovalRequest:
    """Record one person's decision on the action with `digest`; close the request when it settles the matter.

    `verdict`: "approve" | "reject" (needs a comment; changes no action, so its `form` is not looked at).
    `form` None keeps what earlier votes chose. `now`: epoch seconds, the database's clock by default.
    Raises NotFound, BadInput, NotAllowed (`not_a_person`, `not_a_reviewer`, `excluded_starter`, `excluded_author`),
    Conflict (`already_decided`, `closed`, `stale_digest` with the current digest, `busy`), and
    flows.resolve.ResolveError when the form's values give no action.
    """
    ballot = _ballot(verdict, digest, comment)
    for _ in range(TRIES):
        request = _seen(actor, request_id)
        person = facts.person_of(actor, request.folder)
        _check_may_decide(request, person, _now(now))
        resolved = _resolve(request, ballot, form)
        try:
            with transaction.atomic():
                return _decide(actor, request_id, ballot, resolved, _now(now))
        except _Moved:
            continue
    raise Conflict("The run keeps changing. Nothing was decided.", hint="Try again in a moment.", code="busy")


def preview(*, actor: Actor, request_id: str, form: dict[str, Any] | None) -> tuple[list[Any], str]:
    """(actions, digest) an approval with these form values would approve. Changes nothing.

    Raises NotFound (also for who may not see the folder), BadInput, Conflict `closed` | `already_decided`.
    """
    request = _seen(actor, request_id)
    _check_open(request, facts.question_of(request), None, database_now())
    resolved = forms.resolve(request, form)
    return resolved.actions, resolved.digest


def _now(now: float | None) -> float:
    return database_now() if now is None else now


_MISSING: Final = "There is no such request."


def _request(request_id: str) -> ApprovalRequest:
    try:
        return ApprovalRequest.objects.select_related("run").get(pk=request_id)
    except ApprovalRequest.DoesNotExist:
        raise NotFound(_MISSING) from None


def _seen(actor: Actor, request_id: str) -> ApprovalRequest:
    """To who may not view its folder, it is not there."""
    request = _request(request_id)
    require_on(actor, "viewer", request.folder, _MISSING)
    return request


def _ballot(verdict: str, digest: str, comment: str) -> Ballot:
    problems: list[dict[str, Any]] = []
    if verdict not in Decision.Verdict.values:
        problems.append({"path": ["decision"], "message": "must be approve or reject"})
    if not digest:
        problems.append({"path": ["digest"], "message": "is missing: send the digest of the action you were shown"})
    comment = (comment or "").strip()
    if verdict == Decision.Verdict.REJECT and not comment:
        problems.append({"path": ["comment"], "message": "is missing: say why you reject"})
    if len(comment) > MAX_COMMENT:
        problems.append({"path": ["comment"], "message": f"is longer than {MAX_COMMENT} characters"})
    if problems:
        raise BadInput(
            f"The decision cannot be used: {problems[0]['path'][0]} {problems[0]['message']}.", details=problems
        )
    return Ballot(verdict, digest, comment)


def _resolve(request: ApprovalRequest, ballot: Ballot, form: Any) -> forms.Resolved:
    if ballot.verdict == Decision.Verdict.REJECT:
        return forms.Resolved({}, request.actions, request.digest)
    return forms.resolve(request, form)


def _check_may_decide(request: ApprovalRequest, person: policy.Person, now: float) -> None:
    """Permission comes first: who may not decide does not learn how it went."""
    question = facts.question_of(request)
    no = policy.refusal(question, person)
    if no is not None:
        raise NotAllowed(no.message, code=no.code)
    _check_open(request, question, person.id, now)


def _check_open(request: ApprovalRequest, question: policy.Question, person: int | None, now: float) -> None:
    ended = policy.closed(question, now)
    votes = facts.votes_of(request)
    own = policy.vote_of(votes, person, question.digest) if person is not None else None
    if own is not None or ended in ("approved", "rejected"):
        raise _already(request, own or next(iter(votes), None), mine=own is not None)
    if ended:
        words = ended.replace("_", " ")
        raise Conflict(f"This request is closed: {words}.", code="closed", details={"status": ended})


def _already(request: ApprovalRequest, first: policy.Vote | None, *, mine: bool) -> Conflict:
    details: dict[str, Any] = {"status": request.status, "decision": None}
    if first is not None:
        details["decision"] = {
            "by": first.name, "decision": first.verdict, "digest": first.digest, "at": first.at,
        }  # fmt: skip
    message = "You have decided already." if mine else f"This request was {request.status} already."
    return Conflict(message, code="already_decided", details=details)


def _decide(actor: Actor, request_id: str, ballot: Ballot, resolved: forms.Resolved, now: float) -> ApprovalRequest:
    """In the transaction. Lock order: run, request."""
    request = _request(request_id)
    run = Run.objects.select_for_update().get(pk=request.run_id) if request.run_id else None
    request = ApprovalRequest.objects.select_for_update().get(pk=request_id)
    request.run = run
    person = facts.person_of(actor, request.folder)
    _check_may_decide(request, person, now)
    if resolved.seen is not None and resolved.seen != (run.version if run else 0, request.digest):
        raise _Moved
    expected = request.digest if resolved.seen is None else resolved.digest
    if ballot.digest != expected:
        raise Conflict(
            "What would be done is no longer what you were shown.",
            hint="Read it again, then decide.", code="stale_digest", details={"digest": expected},
        )  # fmt: skip
    own = policy.vote_of(facts.votes_of(request), person.id, expected)
    if own is not None:
        raise _already(request, own, mine=True)
    return _record(actor, request, person, ballot, resolved, now)


def _record(
    actor: Actor, request: ApprovalRequest, person: policy.Person, ballot: Ballot, resolved: forms.Resolved, now: float
) -> ApprovalRequest:
    _take_over_action(request, ballot, resolved)
    Decision.objects.create(
        request=request, person_id=person.id, verdict=ballot.verdict, digest=ballot.digest, form=resolved.form,
        comment=ballot.comment, at=now,
    )  # fmt: skip
    standing = policy.standing(facts.question_of(request), facts.votes_of(request))
    if standing.outcome != "open":
        request.status = standing.outcome
        request.closed_at = now
        request.save(update_fields=["status", "closed_at"])
    decided = _facts(request, person, ballot, standing)
    if request.run_id is not None:
        history.append(
            request.run_id,
            "approval.decided",
            step=request.step,
            item=request.item,
            actor=person.name,
            data=decided,
        )
    if standing.outcome != "open":
        _deliver(actor, request, ballot, resolved, standing)
    _audit(actor, request, decided, resolved)
    return request


def _take_over_action(request: ApprovalRequest, ballot: Ballot, resolved: forms.Resolved) -> None:
    """A form that changes the action changes the question: votes for the earlier one no longer count."""
    if ballot.verdict == Decision.Verdict.REJECT or resolved.digest == request.digest:
        return
    request.actions = resolved.actions
    request.digest = resolved.digest
    request.irreversible = any(action.get("irreversible") for action in resolved.actions)
    request.save(update_fields=["actions", "digest", "irreversible"])


def _facts(
    request: ApprovalRequest, person: policy.Person, ballot: Ballot, standing: policy.Standing
) -> dict[str, Any]:
    return {
        "request": request.pk, "verdict": ballot.verdict, "by": person.name, "comment": ballot.comment,
        "digest": ballot.digest, "status": request.status, "missing": standing.missing, "void": list(standing.void),
    }  # fmt: skip


def _audit(actor: Actor, request: ApprovalRequest, decided: dict[str, Any], resolved: forms.Resolved) -> None:
    """Who, when, why, and what was seen, as it was shown. The log's lock is the last one taken."""
    veil = veiled.veil_of(request)
    form = veil.tree(blank(request.form_schema, resolved.form))
    seen = {"title": hide(veil.text(request.title)), "actions": veiled.actions(veil, request.actions), "form": form}
    data = {
        **decided,
        "comment": veil.text(decided["comment"]),
        "run": request.run_id,
        "step": request.step,
        "seen": seen,
    }
    audit.record(
        actor=actor, action=f"approval.{decided['verdict']}", object_type="approval", object_id=request.pk, data=data
    )


def _deliver(
    actor: Actor, request: ApprovalRequest, ballot: Ballot, resolved: forms.Resolved, standing: policy.Standing
) -> None:
    by = [standing.rejection] if standing.outcome == "rejected" else list(standing.approvals)
    answer: dict[str, Any] = {
        "decision": standing.outcome, "digest": ballot.digest, "by": by, "comment": ballot.comment,
        "form": resolved.form,
    }  # fmt: skip
    if request.form_schema and standing.outcome == "approved":
        answer["actions"] = request.actions  # the form may have changed what the wait opened with
    delivery = deliver(token=request.token, payload=answer, actor=actor)
    if delivery.outcome not in _DELIVERED:
        raise Conflict("The run no longer waits for this decision.", code="closed", details={"status": request.status})
