"""approval: stop until people have decided on exactly what the protected steps will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from flows.definition.canonical import digest
from flows.definition.jsonguard import JsonError, check_json
from flows.steps.approval.config import ApprovalConfig
from flows.steps.base import Action, Fail, Family, Json, Outcome, StepContext, StepError, Wait

#: bytes of JSON; above it no person could read the request
MAX_REQUEST = 1024 * 1024
MAX_DEPTH = 72  # an action's config, and what stands around it


class ApprovalFamily(Family):
    name: ClassVar[str] = "approval"
    Config: ClassVar[type[BaseModel]] = ApprovalConfig
    title: ClassVar[str] = "Approval"
    summary: ClassVar[str] = "Asks people to approve exactly what the protected steps will do, and waits for them."
    icon: ClassVar[str] = "approval"
    has_effect: ClassVar[bool] = False

    def describe(self, action: Action) -> str:
        return f"Asks for approval: {action.config['title']}"

    def execute(self, ctx: StepContext) -> Outcome:
        config = ctx.action.config
        actions = [action for step in config["protects"] for action in ctx.resolve(step)]
        try:
            spec = request(config, actions, irreversible=ctx.irreversible, previous_digest=ctx.previous_digest)
            check_json(spec, max_depth=MAX_DEPTH, max_bytes=MAX_REQUEST)
        except JsonError as e:
            return Fail(StepError("limit", f"The request for approval is more than a person can read. {e}"))
        return Wait(kind="approval", timeout=config["expires"], spec=spec)


def request(
    config: Mapping[str, Json],
    actions: Sequence[Action],
    *,
    irreversible: Callable[[str], bool],
    previous_digest: str | None = None,
) -> dict[str, Json]:
    """What the reviewer sees and signs: the spec of an approval's wait (docs/contracts.md). Pure.

    The digest is taken of the actions alone, so wording never changes it and every byte that executes does.
    """
    shown = [shown_action(action, irreversible(action.step)) for action in actions]
    return {
        "title": config["title"],
        "summary": config["summary"],
        "actions": shown,
        "digest": digest([a.to_json() for a in actions]),
        "irreversible": any(a["irreversible"] for a in shown),
        "reviewers": config["reviewers"],
        "form": config["form"],
        "on_expiry": config["on_expiry"],
        "on_reject": config["on_reject"],
        "previous_digest": previous_digest,
    }


def shown_action(action: Action, irreversible: bool) -> dict[str, Any]:
    # late: the registry imports this module
    from flows.steps.registry import family

    return {**action.to_json(), "sentence": family(action.family).describe(action), "irreversible": irreversible}
