"""Public keys as people paste them. Pure; the library is imported on first use."""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

MAX_LENGTH = 4000
_RAW_ED25519 = re.compile(r"[0-9a-fA-F]{64}")
_SHAPES = "Give a PEM text (BEGIN PUBLIC KEY), its base64 alone, or the 64 hex digits of an Ed25519 key"


@lru_cache(maxsize=128)
def read_public_key(text: str) -> PublicKey:
    """A P-256 or Ed25519 key of PEM, of base64 of its DER, or (Ed25519) of 64 hex digits. Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ValueError("the key is too long")
    if _RAW_ED25519.fullmatch(text):
        return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    try:
        if "-----BEGIN" in text:
            key = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError(f"this is no public key. {_SHAPES}") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("the key must be of P-256 or Ed25519")


def verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the signature is this key's: Ed25519, or ECDSA over SHA-256 as DER or as 64 bytes r and s."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
            return True
        if len(signature) == 64:
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            signature = encode_dss_signature(r, s)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
