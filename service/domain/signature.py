"""Standard Webhooks 1.0.0 signatures, schemes `v1` (HMAC-SHA256) and `v1a` (ed25519).

What is signed: `{id}.{timestamp}.{body}`. The ed25519 private key is not here: the caller passes in what signs with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
from collections.abc import Callable, Sequence
from datetime import datetime

_PREFIX = "whsec_"
_PUBLIC_KEY_PREFIX = "whpk_"
# Standard Webhooks, "Signature scheme": a symmetric secret is random, 24 to 64 bytes.
_MINIMUM_BYTES, _MAXIMUM_BYTES = 24, 64
_NEW_SECRET_BYTES = 32


class InvalidSecret(ValueError):
    """The text is not a `whsec_` secret of 24 to 64 bytes."""


def new_secret(rng: random.Random) -> str:
    """A fresh `whsec_` secret of 32 random bytes."""
    return _PREFIX + _base64(rng.randbytes(_NEW_SECRET_BYTES))


def secret_bytes(secret: str) -> bytes:
    """The key inside a `whsec_` secret. Raises InvalidSecret; the message never repeats the secret."""
    if not secret.startswith(_PREFIX):
        raise InvalidSecret("a signing secret starts with 'whsec_'")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidSecret("the part after 'whsec_' is not standard base64") from error
    if not _MINIMUM_BYTES <= len(key) <= _MAXIMUM_BYTES:
        raise InvalidSecret("a signing secret holds 24 to 64 bytes")
    return key


def spelled_public_key(key: bytes) -> str:
    """How receivers are given the 32 bytes of an ed25519 public key: `whpk_...`."""
    return _PUBLIC_KEY_PREFIX + _base64(key)


def signature_headers(
    webhook_id: str,
    at: datetime,
    body: bytes,
    secrets: Sequence[str],
    sign: Callable[[bytes], bytes] | None = None,
) -> dict[str, str]:
    """The three headers of one attempt at `at`: a `v1` signature per secret (two while one is being rotated), then the
    `v1a` one if `sign`, which gives the ed25519 signature of bytes, is there.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    signatures = [f"v1,{_base64(hmac.digest(secret_bytes(secret), signed, hashlib.sha256))}" for secret in secrets]
    if sign is not None:
        signatures.append(f"v1a,{_base64(sign(signed))}")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
