"""The scripts that a flow's page shows are run as they stand: what they send is proven."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from flows.definition.models_webhook import WebhookTrigger
from flows.signatures import Delivery, prove
from runs.incoming.samples import BODY, how_to_sign

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://flows.example/hooks/greet/hook"
TIMED = {"timestamp": "X-Time", "signed": 'v0:{timestamp}:"$HOME`{body}\\'}
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"verify": "none"}, ""),
    ({"verify": "github"}, "s3cret"),
    ({"verify": "gitlab"}, "s3cret"),
    ({"verify": "bearer"}, "s3cret"),
    ({"verify": "basic"}, "ana:s3cret"),
    ({"verify": "api_key"}, "s3cret"),
    ({"verify": "api_key", "header": "X-Mine"}, "s3cret"),
    ({"verify": "stripe"}, "whsec_abc"),
    ({"verify": "slack"}, "s3cret"),
    ({"verify": "standard-webhooks"}, WHSEC),
    ({"verify": "hmac", "hmac": {"header": "X-S", "prefix": "a$b="}}, "s3cret"),
    ({"verify": "hmac", "hmac": {"header": "X-S", "algorithm": "sha512", "encoding": "base64", **TIMED}}, "s3cret"),
    ({"verify": "hmac", "hmac": {"header": "X-S", "algorithm": "sha1"}}, "s3cret"),
]
#: stands in for curl: keeps what it was told
CURL = '#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done > sent\n'


def sent_by(script: str, folder: Path) -> Delivery:
    """What the script hands to curl, as the delivery it would make."""
    (folder / "curl").write_text(CURL)
    (folder / "curl").chmod(0o700)
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run(["bash", "-euc", script], cwd=folder, check=True, env={"PATH": path, "HOME": "/nowhere"})
    words = (folder / "sent").read_text().split("\0")
    assert URL in words
    headers = [words[i + 1].partition(": ") for i, word in enumerate(words) if word == "-H"]
    found = {name.lower(): value for name, _, value in headers}
    if "-u" in words:
        found["authorization"] = "Basic " + base64.b64encode(words[words.index("-u") + 1].encode()).decode()
    return Delivery(found, {}, words[words.index("--data-binary") + 1].encode())


@pytest.mark.parametrize(("config", "secret"), KINDS, ids=lambda value: str(value)[:60])
def test_what_the_script_sends_is_proven(config: dict[str, Any], secret: str, tmp_path: Path) -> None:
    hook = WebhookTrigger.model_validate({**config, **({"secret": "key"} if secret else {})})
    lines = how_to_sign(hook, URL).splitlines()
    script = "\n".join(f"SECRET='{secret}'" if line.startswith("SECRET=") else line for line in lines)
    delivery = sent_by(script, tmp_path)
    assert delivery.body == BODY.encode() and delivery.headers["content-type"] == "application/json"
    prove(hook, delivery, [secret], time.time())


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
def test_a_script_signs_with_a_private_key(key: Any, encoding: str, tmp_path: Path) -> None:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "private.pem").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    shape = {"header": "X-S", "key": public, "encoding": encoding, **TIMED}
    hook = WebhookTrigger.model_validate({"verify": "ecdsa", "ecdsa": shape})
    prove(hook, sent_by(how_to_sign(hook, URL), tmp_path), [], time.time())
