"""Keeps keys and secrets sealed at rest (AES-256-GCM), names tenants by a keyed hash of their API key, and signs with
the installation's ed25519 key.

What it does that with is the keyset: random, made once per installation, and stored sealed under the master key. So the
master key can be changed, and nothing else changes with it. What is sealed is bound to its purpose and its owner, so
that a ciphertext moved to another row does not open. Where the keyset is stored: `keyring`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import random
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.domain.errors import ConfigurationError

_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: random 96-bit nonces
_KEY_ID_BYTES = 4
_FORMAT = 1
_KEYSET, _INSTALLATION = "keyset", "installation"  # purpose and owner of the keyset itself
# A random key has about 31 different characters of base64, and 16 or fewer once in 10^14 times.
_FEW_CHARACTERS = 16
# So long that a random key holds none of them.
_WORDS = ("changeme", "password", "example", "masterkey", "photogpt", "insecure", "replaceme", "yoursecret")


class SealBroken(Exception):
    """A sealed value does not open: another key, another row, or altered bytes."""


def new_master_key(rng: random.Random) -> str:
    """A fresh master key: base64 of 32 random bytes."""
    return base64.b64encode(rng.randbytes(_KEY_BYTES)).decode()


def known_default(master_key: str) -> bool:
    """Whether this is an example and not random bytes: one byte over and over, counting, a pattern, or words."""
    key = _decoded(master_key)
    if key is None:
        return False  # no key at all, which `Vault` says
    text = master_key.strip().rstrip("=")
    if len(set(text)) <= _FEW_CHARACTERS or any(word in text.lower() for word in _WORDS):
        return True
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    halves = key[: len(key) // 2] == key[len(key) // 2 :]
    readable = all(0x20 <= byte <= 0x7E for byte in key)
    return len(steps) <= 1 or halves or readable


class Vault:
    """Locked until `unlock`. Both master keys are base64 of 32 bytes (ConfigurationError otherwise); the previous one
    is there while the master key is changed.
    """

    def __init__(self, master_key: str, rng: random.Random, previous: str | None = None) -> None:
        self._rng = rng
        self._master = _MasterKey(master_key, "GATEWAY_MASTER_KEY")
        self._masters = [self._master]
        if previous is not None:
            self._masters.append(_MasterKey(previous, "GATEWAY_PREVIOUS_MASTER_KEY"))
        self._keyset: _Keyset | None = None

    def unlock(self, sealed: bytes | None, *, sealed_before: bytes | None = None) -> bytes | None:
        """Open the stored keyset; without one make it, and return what is to be stored.

        `sealed_before`: a value that a release without keysets has sealed, with keys of the master key. The first
        keyset is those keys, so that all it sealed still opens and tenants keep their ids. Raises ConfigurationError if
        the master key, and the previous one, opens neither.
        """
        if sealed is not None:
            self._keyset = _Keyset(self._plain(sealed))
            return None
        plain = _new_keyset(self._rng) if sealed_before is None else self._master_of(sealed_before).earlier_keyset()
        self._keyset = _Keyset(plain)
        return self._wrapped(plain)

    def is_current(self, sealed: bytes) -> bool:
        """Whether a stored keyset is sealed under the current master key, and not under the previous one."""
        return self._master_of(sealed) is self._master

    def rewrapped(self, sealed: bytes) -> bytes | None:
        """A stored keyset sealed anew, under the current master key; None if it is already."""
        return None if self.is_current(sealed) else self._wrapped(self._plain(sealed))

    def seal(self, text: str, *, purpose: str, owner: str) -> bytes:
        """`key id | nonce | ciphertext` of `text`."""
        keys = self._opened()
        return _seal(keys.sealing, keys.sealing_id, self._rng, text.encode(), _context(purpose, owner))

    def open(self, sealed: bytes, *, purpose: str, owner: str) -> str:
        """What `seal` was given, or SealBroken."""
        aead = self._opened().aeads.get(sealed[:_KEY_ID_BYTES])
        if aead is None:
            raise SealBroken(f"the {purpose} was sealed with keys that this installation does not have")
        try:
            return _open(aead, sealed, _context(purpose, owner)).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"the sealed {purpose} does not belong here or was altered") from error

    def fingerprint(self, text: str) -> str:
        """A keyed hash: the same text gives the same 32 characters, and nobody without the keyset can try texts."""
        return hmac.digest(self._opened().pepper, text.encode(), hashlib.sha256).hex()[:32]

    def sign(self, data: bytes) -> bytes:
        """The ed25519 signature, 64 bytes, that `public_key` verifies."""
        return self._opened().signing_key.sign(data)

    @property
    def public_key(self) -> bytes:
        return self._opened().public_key

    @property
    def public_key_id(self) -> str:
        return f"whk_{hashlib.sha256(self.public_key).hexdigest()[:16]}"

    def _opened(self) -> _Keyset:
        if self._keyset is None:
            raise RuntimeError("the vault is used before it was unlocked")
        return self._keyset

    def _wrapped(self, plain: bytes) -> bytes:
        return _seal(self._master.wrapping, self._master.id, self._rng, plain, _context(_KEYSET, _INSTALLATION))

    def _plain(self, sealed: bytes) -> bytes:
        try:
            return _open(self._master_of(sealed).wrapping, sealed, _context(_KEYSET, _INSTALLATION))
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError("The stored keys of this installation are damaged: restore a backup.") from error

    def _master_of(self, sealed: bytes) -> _MasterKey:
        for master in self._masters:
            if master.id == sealed[:_KEY_ID_BYTES]:
                return master
        raise ConfigurationError(
            "GATEWAY_MASTER_KEY is not the one that this database was sealed with: set that one again, or give it as "
            "GATEWAY_PREVIOUS_MASTER_KEY beside the new one and run `photogpt-webhooks rewrap`."
        )


class _MasterKey:
    def __init__(self, spelled: str, setting: str) -> None:
        key = _decoded(spelled)
        if key is None:
            raise ConfigurationError(f"{setting} must be base64 of 32 bytes; make one with `photogpt-webhooks keygen`.")
        self._key = key
        self.id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
        self.wrapping = AESGCM(self._derived(b"keyset"))

    def earlier_keyset(self) -> bytes:
        """What a release without keysets derived from this master key, and used instead of one."""
        return _spelled_keyset(self.id, self._derived(b"seal"), self._derived(b"tenant"), self._derived(b"ed25519"))

    def _derived(self, use: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"photogpt-webhooks/" + use).derive(self._key)


class _Keyset:
    """One that is open. The first data key seals; all open."""

    def __init__(self, plain: bytes) -> None:
        keyset: dict[str, Any] = json.loads(plain)
        if keyset["format"] != _FORMAT:
            raise ConfigurationError("The stored keys were made by a newer release: run that one.")
        self.aeads = {bytes.fromhex(id_): AESGCM(base64.b64decode(key)) for id_, key in keyset["data_keys"].items()}
        self.sealing_id, self.sealing = next(iter(self.aeads.items()))
        self.pepper = base64.b64decode(keyset["pepper"])
        self.signing_key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(keyset["ed25519"]))
        self.public_key = self.signing_key.public_key().public_bytes_raw()


def _new_keyset(rng: random.Random) -> bytes:
    data_key, pepper, seed = (rng.randbytes(_KEY_BYTES) for _ in range(3))
    return _spelled_keyset(rng.randbytes(_KEY_ID_BYTES), data_key, pepper, seed)


def _spelled_keyset(data_key_id: bytes, data_key: bytes, pepper: bytes, seed: bytes) -> bytes:
    """JSON, so that a later release can add to it; what it adds is kept when it is sealed anew."""
    keyset = {
        "format": _FORMAT,
        "data_keys": {data_key_id.hex(): base64.b64encode(data_key).decode()},
        "pepper": base64.b64encode(pepper).decode(),
        "ed25519": base64.b64encode(seed).decode(),
    }
    return json.dumps(keyset).encode()


def _decoded(spelled: str) -> bytes | None:
    """The bytes of a key, or None if it is not one."""
    try:
        key = base64.b64decode(spelled.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _seal(aead: AESGCM, key_id: bytes, rng: random.Random, plain: bytes, context: bytes) -> bytes:
    nonce = rng.randbytes(_NONCE_BYTES)
    return key_id + nonce + aead.encrypt(nonce, plain, context)


def _open(aead: AESGCM, sealed: bytes, context: bytes) -> bytes:
    nonce, ciphertext = sealed[_KEY_ID_BYTES:][:_NONCE_BYTES], sealed[_KEY_ID_BYTES + _NONCE_BYTES :]
    return aead.decrypt(nonce, ciphertext, context)


def _context(purpose: str, owner: str) -> bytes:
    return f"{purpose}|{owner}".encode()
