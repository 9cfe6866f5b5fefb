"""What a flow's page and the API show of its webhooks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.conf import settings
from django.urls import reverse

from flows.definition.models_webhook import WebhookTrigger, hook_of
from flows.definition.plan import Plan, Trigger
from flows.models import Flow
from runs.incoming.models import HookDelivery
from runs.incoming.samples import how_to_sign
from runs.models import Run

SHOWN: Final = 20
_PROOF: Final = {
    "github": "Checks GitHub’s signature.",
    "gitlab": "Compares GitLab’s token.",
    "stripe": "Checks Stripe’s signature and its time.",
    "slack": "Checks Slack’s signature and its time.",
    "standard-webhooks": "Checks the signature of Standard Webhooks and its time.",
    "bearer": "Asks for a bearer token.",
    "basic": "Asks for user and password.",
    "api_key": "Asks for an API key.",
    "none": "Takes deliveries from anybody who knows the address.",
}
_LOOKS: Final = {
    "started": ("succeeded", "Started"),
    "duplicate": ("skipped", "Duplicate"),
    "skipped": ("skipped", "Skipped"),
    "ignored": ("skipped", "Ignored"),
    "answered": ("succeeded", "Answered"),
    "refused": ("failed", "Refused"),
}


def url_of(slug: str, trigger: str) -> str:
    return f"{settings.PUBLIC_URL}" + reverse("hook", args=[slug, trigger])


def of_flow(flow: Flow, plan: Plan | None) -> list[dict[str, Any]]:
    """The webhooks of the live release with their last deliveries; two queries a hook."""
    return [_hook(flow, trigger) for trigger in (plan.triggers if plan else ()) if trigger.kind == "webhook"]


def _hook(flow: Flow, trigger: Trigger) -> dict[str, Any]:
    hook, url = hook_of(trigger.config), url_of(flow.slug, trigger.name)
    rows = list(HookDelivery.objects.filter(flow=flow, trigger=trigger.name).order_by("-id")[:SHOWN])
    kept = set(Run.objects.filter(pk__in=[row.run_id for row in rows if row.run_id]).values_list("pk", flat=True))
    return {
        "name": trigger.name,
        "url": url,
        "verify": hook.verify,
        "proof": proof_of(hook),
        "secret": hook.secret,
        "allow": list(hook.allow or ()),
        "tolerance": hook.skew if hook.timed else None,
        "condition": trigger.config.get("if"),
        "dedupe": hook.dedupe,
        "wait": hook.respond.wait if hook.respond else None,
        "sign": how_to_sign(hook, url),
        "deliveries": [_seen(row, kept) for row in rows],
    }


def proof_of(hook: WebhookTrigger) -> str:
    """One sentence: what is checked."""
    if hook.signature is None:
        return _PROOF[hook.verify]
    kind = f"HMAC ({hook.hmac.algorithm})" if hook.hmac else "public-key signature"
    return f"Checks the {kind} in {hook.signature.header}{' and its time' if hook.timed else ''}."


def _seen(row: HookDelivery, kept: Collection[str]) -> dict[str, Any]:
    """`kept`: runs that are still there; a link leads only to those."""
    state, label = _LOOKS[row.status]
    return {"row": row, "state": state, "label": label, "run": row.run_id if row.run_id in kept else ""}
