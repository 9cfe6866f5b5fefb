"""Lint of webhook triggers: who may call, and what proves it."""

from __future__ import annotations

import ipaddress

from flows.definition.models_webhook import WebhookTrigger
from flows.definition.reader import Document
from flows.definition.yaml_source import Path


def check(document: Document) -> None:
    for trigger in document.triggers:
        if isinstance(trigger.model, WebhookTrigger):
            _check_hook(document, trigger.model, ("triggers", trigger.index, "webhook"))


def _check_hook(document: Document, hook: WebhookTrigger, path: Path) -> None:
    if hook.verify == "none":
        said = "Anybody who knows the address can start this flow."
        if hook.allow:
            said = "Whoever calls from the allowed addresses can start this flow."
        hint = "Use a kind that proves the sender, such as `verify: github`, `hmac` or `bearer`, with a secret."
        document.report("unverified-webhook", (*path, "verify"), said, hint, severity="warning")
    if hook.hmac is not None and hook.hmac.algorithm == "sha1":
        said = "SHA-1 is broken as a hash; its HMAC still holds, but no new sender should use it."
        hint = "Ask the sender for SHA-256, and write `algorithm: sha256`."
        document.report("weak-signature", (*path, "hmac", "algorithm"), said, hint, severity="warning")
    for index, text in enumerate(hook.allow or ()):
        if ipaddress.ip_network(text).prefixlen == 0:
            said = f"{text} is every address there is."
            document.report("open-network", (*path, "allow", index), said, "Take `allow` away, or name networks.")
