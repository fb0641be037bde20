"""Keeps keys and secrets sealed at rest (AES-256-GCM), names tenants by a keyed hash of their API key, and signs with
the installation's ed25519 key.

What is sealed is bound to its purpose and its owner, so that a ciphertext moved to another row does not open.
The ed25519 key pair is derived from the master key: nothing more is stored, and every replica has the same one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.domain.errors import ConfigurationError

_MASTER_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: random 96-bit nonces
_KEY_ID_BYTES = 4


class SealBroken(Exception):
    """A sealed value does not open: another master key, another row, or altered bytes."""


def new_master_key(rng: random.Random) -> str:
    """A fresh master key: base64 of 32 random bytes."""
    return base64.b64encode(rng.randbytes(_MASTER_KEY_BYTES)).decode()


class Vault:
    """Seals with keys derived from one master key (base64 of 32 bytes; ConfigurationError otherwise)."""

    def __init__(self, master_key: str, rng: random.Random) -> None:
        try:
            key = base64.b64decode(master_key.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _MASTER_KEY_BYTES:
            raise ConfigurationError(
                "GATEWAY_MASTER_KEY must be base64 of 32 bytes; make one with `photogpt-webhooks keygen`."
            )
        self._rng = rng
        self._aead = AESGCM(_derive(key, b"seal"))
        self._pepper = _derive(key, b"tenant")
        self._key_id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
        self._signing_key = Ed25519PrivateKey.from_private_bytes(_derive(key, b"ed25519"))
        self.public_key = self._signing_key.public_key().public_bytes_raw()
        self.public_key_id = f"whk_{hashlib.sha256(self.public_key).hexdigest()[:16]}"

    def seal(self, text: str, *, purpose: str, owner: str) -> bytes:
        """`key id | nonce | ciphertext` of `text`."""
        nonce = self._rng.randbytes(_NONCE_BYTES)
        return self._key_id + nonce + self._aead.encrypt(nonce, text.encode(), _context(purpose, owner))

    def open(self, sealed: bytes, *, purpose: str, owner: str) -> str:
        """What `seal` was given, or SealBroken."""
        nonce, ciphertext = sealed[_KEY_ID_BYTES:][:_NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
        if sealed[:_KEY_ID_BYTES] != self._key_id:
            raise SealBroken(f"the {purpose} was sealed with another master key")
        try:
            return self._aead.decrypt(nonce, ciphertext, _context(purpose, owner)).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"the sealed {purpose} does not belong here or was altered") from error

    def fingerprint(self, text: str) -> str:
        """A keyed hash: the same text gives the same 32 characters, and nobody without the master key can try texts."""
        return hmac.digest(self._pepper, text.encode(), hashlib.sha256).hex()[:32]

    def sign(self, data: bytes) -> bytes:
        """The ed25519 signature, 64 bytes, that `public_key` verifies."""
        return self._signing_key.sign(data)


def _derive(master: bytes, use: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"photogpt-webhooks/" + use).derive(master)


def _context(purpose: str, owner: str) -> bytes:
    return f"{purpose}|{owner}".encode()
