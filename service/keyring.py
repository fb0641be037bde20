"""What deliveries are signed with and carry: secrets and headers, sealed. The cryptography: `vault`."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from service.domain.signature import new_secret, spelled_public_key
from service.storage.due_delivery import DueDelivery
from service.vault import Vault

_SECRET = "signing secret"  # noqa: S105  # what is sealed, not its value
_HEADERS = "headers"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a receiver verifies `v1a` signatures with; `public_key` is spelled `whpk_...`."""

    id: str
    public_key: str


class Keyring:
    """What is sealed belongs to an `owner`, the id of a tenant, callback or endpoint, and opens for no other."""

    def __init__(self, vault: Vault, rng: random.Random) -> None:
        self._vault = vault
        self._rng = rng

    def new_secret(self) -> str:
        return new_secret(self._rng)

    def seal_secret(self, owner: str, secret: str) -> bytes:
        return self._vault.seal(secret, purpose=_SECRET, owner=owner)

    def open_secret(self, owner: str, sealed: bytes) -> str:
        """Raises vault.SealBroken."""
        return self._vault.open(sealed, purpose=_SECRET, owner=owner)

    def seal_headers(self, owner: str, headers: Mapping[str, str]) -> bytes | None:
        """None if there are none."""
        return self._vault.seal(json.dumps(dict(headers)), purpose=_HEADERS, owner=owner) if headers else None

    def secrets_of(self, due: DueDelivery) -> list[str]:
        """What this delivery is signed with: its target's own secrets, else its tenant's. Raises vault.SealBroken."""
        target = due.target
        if target.sealed_secrets:
            return [self.open_secret(target.id, sealed) for sealed in target.sealed_secrets]
        return [self.open_secret(due.tenant_id, sealed) for sealed in due.sealed_tenant_secrets]

    def headers_of(self, owner: str, sealed: bytes | None) -> dict[str, str]:
        """Raises vault.SealBroken."""
        if sealed is None:
            return {}
        headers: dict[str, str] = json.loads(self._vault.open(sealed, purpose=_HEADERS, owner=owner))
        return headers

    def sign(self, data: bytes) -> bytes:
        """The installation's own ed25519 signature, the same for all tenants."""
        return self._vault.sign(data)

    def public_keys(self) -> list[PublicKey]:
        """The keys that verify what `sign` gives."""
        return [PublicKey(self._vault.public_key_id, spelled_public_key(self._vault.public_key))]
