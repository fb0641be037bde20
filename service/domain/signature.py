"""Standard Webhooks 1.0.0 signatures, scheme `v1` (HMAC-SHA256). What is signed: `{id}.{timestamp}.{body}`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"
# Standard Webhooks, "Signature scheme": a symmetric secret is random, 24 to 64 bytes.
_MINIMUM_BYTES, _MAXIMUM_BYTES = 24, 64
_NEW_SECRET_BYTES = 32


class InvalidSecret(ValueError):
    """The text is not a `whsec_` secret of 24 to 64 bytes."""


def new_secret(rng: random.Random) -> str:
    """A fresh `whsec_` secret of 32 random bytes."""
    return _PREFIX + base64.b64encode(rng.randbytes(_NEW_SECRET_BYTES)).decode()


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


def signature_headers(webhook_id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of one attempt at `at`, one `v1` signature per secret (two while one is being rotated)."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    signatures = (hmac.digest(secret_bytes(secret), signed, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures),
    }
