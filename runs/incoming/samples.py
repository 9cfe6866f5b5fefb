"""How to sign a delivery, as a shell script to copy: openssl and curl, one way a kind. Pure."""

from __future__ import annotations

import shlex

from flows.definition.models_webhook import EcdsaModel, HmacModel, Signature, WebhookTrigger
from flows.definition.public_keys import read_public_key

BODY = '{"hello": "world"}'
_HEX, _BASE64 = "od -An -v -tx1 | tr -d ' \\n'", "openssl base64 -A"


def how_to_sign(hook: WebhookTrigger, url: str) -> str:
    """`SECRET` is left for the reader to fill in."""
    before, headers = _parts(hook)
    lines = [f"BODY={shlex.quote(BODY)}"]
    if hook.verify not in ("none", "ecdsa"):
        lines.append(f"SECRET={_placeholder(hook)}")
    lines += before
    sent = [f"  -H {text} \\" for text in ("'Content-Type: application/json'", *headers)]
    user = ['  -u "$SECRET" \\'] if hook.verify == "basic" else []
    return "\n".join([*lines, f"curl -X POST {shlex.quote(url)} \\", *user, *sent, '  --data-binary "$BODY"'])


def _placeholder(hook: WebhookTrigger) -> str:
    words = {"basic": "user:password", "standard-webhooks": "whsec_…", "stripe": "whsec_…"}
    return shlex.quote(words.get(hook.verify, f"the value of {hook.secret}"))


def _parts(hook: WebhookTrigger) -> tuple[list[str], list[str]]:
    """Lines before the call, and its headers, quoted for the shell."""
    if hook.hmac is not None:
        return _signed(hook.hmac, _hmac_of(hook.hmac))
    if hook.ecdsa is not None:
        return _signed(hook.ecdsa, _ecdsa_of(hook.ecdsa))
    if hook.verify == "standard-webhooks":
        return _standard()
    simple = {
        "gitlab": '"X-Gitlab-Token: $SECRET"',
        "bearer": '"Authorization: Bearer $SECRET"',
        "api_key": f'"{hook.header or "X-API-Key"}: $SECRET"',
    }
    if hook.verify in simple:
        return [], [simple[hook.verify]]
    known = {
        "github": HmacModel(header="X-Hub-Signature-256", prefix="sha256="),
        "stripe": HmacModel(
            header="Stripe-Signature", prefix="t=$TIME,v1=", signed="{timestamp}.{body}", timestamp="T"
        ),
        "slack": HmacModel(
            header="X-Slack-Signature", prefix="v0=", signed="v0:{timestamp}:{body}",
            timestamp="X-Slack-Request-Timestamp",
        ),
    }  # fmt: skip
    shape = known.get(hook.verify)
    if shape is None:
        return [], []
    before, headers = _signed(shape, _hmac_of(shape), own=True)
    return before, headers[-1:] if hook.verify == "stripe" else headers


def _signed(shape: Signature, how: str, *, own: bool = False) -> tuple[list[str], list[str]]:
    """`own`: the prefix is one of ours, which may hold a variable."""
    before = ["TIME=$(date +%s)"] if shape.timestamp else []
    text = _in_quotes(shape.signed).replace("{timestamp}", "${TIME}").replace("{body}", "${BODY}")
    prefix = shape.prefix if own else _in_quotes(shape.prefix)
    stamp = [f'"{shape.timestamp}: $TIME"'] if shape.timestamp else []
    mark = f"SIGNATURE=$(printf '%s' \"{text}\" | {how})"
    return [*before, mark], [*stamp, f'"{shape.header}: {prefix}$SIGNATURE"']


def _hmac_of(shape: HmacModel) -> str:
    return f'openssl dgst -{shape.algorithm} -hmac "$SECRET" -binary | {_written(shape)}'


def _ecdsa_of(shape: EcdsaModel) -> str:
    if shape.key is not None and not hasattr(read_public_key(shape.key), "curve"):  # Ed25519 signs a file only
        return f"cat > signed.bin; openssl pkeyutl -sign -inkey private.pem -rawin -in signed.bin | {_written(shape)}"
    return f"openssl dgst -sha256 -sign private.pem | {_written(shape)}"


def _written(shape: Signature) -> str:
    return _HEX if shape.encoding == "hex" else _BASE64


def _standard() -> tuple[list[str], list[str]]:
    key = f"KEY=$(printf '%s' \"${{SECRET#whsec_}}\" | openssl base64 -d -A | {_HEX})"
    mark = f"openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | {_BASE64}"
    before = ["ID=msg_$(date +%s%N)", "TIME=$(date +%s)", key, f"SIGNATURE=$(printf '%s' \"$ID.$TIME.$BODY\" | {mark})"]
    return before, ['"webhook-id: $ID"', '"webhook-timestamp: $TIME"', '"webhook-signature: v1,$SIGNATURE"']


def _in_quotes(text: str) -> str:
    """Text as it may stand between double quotes of the shell."""
    for character in '\\"$`':
        text = text.replace(character, "\\" + character)
    return text
