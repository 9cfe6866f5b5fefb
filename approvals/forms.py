"""An approval's form: which values stand, and what the protected steps would do with them.

Nothing here runs inside a transaction: resolving an action evaluates expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from approvals.models import ApprovalRequest, Decision
from flows.definition.inputs import validate_input, with_defaults
from flows.definition.jsonguard import JsonError
from flows.definition.sensitive import MARK, blank, holds_mark, restored
from resources.errors import BadInput
from runs import preview
from runs.models import Run


@dataclass(frozen=True, slots=True)
class Resolved:
    """Form values with the actions they give. `seen`: (run's version, request's digest) this was computed from."""

    form: dict[str, Any]
    actions: list[Any]
    digest: str
    seen: tuple[int, str] | None = None


def standing_form(request: ApprovalRequest) -> dict[str, Any] | None:
    """The form values of the latest vote for the action as it is now; None when nobody filled the form in yet."""
    votes = request.decisions.filter(verdict=Decision.Verdict.APPROVE, digest=request.digest)
    latest = votes.order_by("-at", "-pk").first()
    return None if latest is None else latest.form


def check_form(schema: dict[str, Any], form: Any) -> dict[str, Any]:
    """The values with defaults filled in. Raises BadInput with [{path: [keys], message}] in details."""
    if not schema:
        if form:
            raise BadInput("This request has no form.", details=[{"path": ["form"], "message": "no form is asked for"}])
        return {}
    if form is not None and not isinstance(form, dict):
        raise BadInput("The form is not an object.", details=[{"path": ["form"], "message": "must be an object"}])
    values: dict[str, Any] = with_defaults(schema, form or {})
    try:
        problems = validate_input(schema, values)
    except JsonError as error:
        problems = [{"path": ["form"], "message": str(error)}]
    if problems:
        raise BadInput("The form has values that cannot be used.", details=problems)
    return values


def resolve(request: ApprovalRequest, form: Any) -> Resolved:
    """What an approval with `form` approves. `form` None keeps the values of earlier votes. Raises BadInput."""
    if not request.form_schema or request.run_id is None:
        return Resolved(check_form(request.form_schema, form), request.actions, request.digest)
    seen = (Run.objects.values_list("version", flat=True).get(pk=request.run_id), request.digest)
    standing = standing_form(request)
    if standing is not None and form is not None:
        form = restored(form, blank(request.form_schema, standing), standing)
    if standing is not None and form in (None, standing):
        return Resolved(standing, request.actions, request.digest, seen)
    values = check_form(request.form_schema, form)
    if holds_mark(values):
        raise BadInput(
            f"“{MARK}” stands where nobody has answered yet.", hint="Write the value.", code="sensitive_mark"
        )
    actions, digest = preview.actions_of(request.run_id, request.step, values)
    return Resolved(values, list(actions), digest, seen)
