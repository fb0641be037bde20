"""The installation's own keys, from their row to the open vault; and what deliveries are signed with and carry: secrets
and headers, sealed. The cryptography: `vault`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from service.clock import Clock
from service.domain.secret import Secret
from service.domain.signature import new_secret, spelled_public_key
from service.storage.database import Database, UnitOfWork
from service.storage.due_delivery import DueDelivery
from service.telemetry.logging import get_logger
from service.vault import Vault

_log = get_logger("keyring")

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

    async def unlock(self, database: Database, clock: Clock) -> None:
        """Before anything is sealed or opened: with the keyset that is stored, or with the first one.

        Replicas that start at once agree on one. Raises ConfigurationError if the master key is not the one.
        """
        stored, sealed_before = await database.read(_stored)
        made = self._vault.unlock(stored, sealed_before=sealed_before)
        if made is not None:
            stored = await database.transaction(lambda unit: unit.keysets.keep_first(made, clock.now()))
            self._vault.unlock(stored)
            _log.info(
                "keyset_made" if stored == made else "keyset_of_another_replica", earlier=sealed_before is not None
            )
        elif stored is not None and not self._vault.is_current(stored):
            _log.warning("keyset_under_previous_master_key", remedy="run `photogpt-webhooks rewrap`")

    async def rewrap(self, database: Database, clock: Clock) -> bool:
        """Seal the stored keyset anew, under the current master key; False if it is already. Whoever runs goes on."""

        def work(unit: UnitOfWork) -> bool:
            stored = unit.keysets.sealed()
            if stored is None:
                raise LookupError("keyset")
            sealed = self._vault.rewrapped(stored)
            # Another one that does the same at this moment may be first.
            return sealed is not None and unit.keysets.replace(stored, sealed, clock.now())

        return await database.transaction(work)

    async def is_under_previous_key(self, database: Database) -> bool:
        """Of any database, also of one that has no tables yet. Raises ConfigurationError as `unlock` does."""
        stored = await database.read(lambda unit: unit.keysets.sealed_if_migrated())
        return stored is not None and not self._vault.is_current(stored)

    def new_secret(self) -> str:
        return new_secret(self._rng)

    def seal_secret(self, owner: str, secret: str) -> bytes:
        return self._vault.seal(secret, purpose=_SECRET, owner=owner)

    def open_secret(self, owner: str, sealed: bytes) -> Secret:
        """Raises vault.SealBroken."""
        return Secret(self._vault.open(sealed, purpose=_SECRET, owner=owner))

    def seal_headers(self, owner: str, headers: Mapping[str, str]) -> bytes | None:
        """None if there are none."""
        return self._vault.seal(json.dumps(dict(headers)), purpose=_HEADERS, owner=owner) if headers else None

    def secrets_of(self, due: DueDelivery) -> list[Secret]:
        """What this delivery is signed with: its target's own secrets, else its tenant's. Raises vault.SealBroken."""
        target = due.target
        if target.sealed_secrets:
            return [self.open_secret(target.id, sealed) for sealed in target.sealed_secrets]
        return [self.open_secret(due.tenant_id, sealed) for sealed in due.sealed_tenant_secrets]

    def headers_of(self, owner: str, sealed: bytes | None) -> dict[str, Secret]:
        """Their values: any may be a token. Raises vault.SealBroken."""
        if sealed is None:
            return {}
        headers: dict[str, str] = json.loads(self._vault.open(sealed, purpose=_HEADERS, owner=owner))
        return {name: Secret(value) for name, value in headers.items()}

    def sign(self, data: bytes) -> bytes:
        """The installation's own ed25519 signature, the same for all tenants."""
        return self._vault.sign(data)

    def public_keys(self) -> list[PublicKey]:
        """The keys that verify what `sign` gives."""
        return [PublicKey(self._vault.public_key_id, spelled_public_key(self._vault.public_key))]


def _stored(unit: UnitOfWork) -> tuple[bytes | None, bytes | None]:
    """The keyset, and something that is sealed, which without a keyset an earlier release has done."""
    return unit.keysets.sealed(), unit.tenants.some_sealed_secret()
