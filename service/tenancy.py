"""Whose keys and secrets are where: who calls, which PhotoGPT key its polls use, what its webhooks are signed with.

Every key and secret is sealed and opened in this module; `vault` has the cryptography, `storage` only ciphertexts.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import dataclass, field

from service.clock import Clock
from service.domain import ids
from service.domain.errors import Unauthenticated
from service.domain.signature import new_secret
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.outbox import DueDelivery
from service.storage.tables import Tenant
from service.vault import Vault

_KEY = "PhotoGPT key"
_SIGNING_SECRET = "signing secret"  # noqa: S105  # what is sealed, not its value
_CALLBACK_SECRET = "callback secret"  # noqa: S105
_LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `key` never shows in a representation."""

    tenant_id: str
    key: str = field(repr=False)


class Tenancy:
    """`own_key` and `token` are the sidecar's PHOTOGPT_API_KEY and GATEWAY_TOKEN."""

    def __init__(
        self,
        *,
        database: Database,
        photogpt: PhotoGPT,
        vault: Vault,
        clock: Clock,
        rng: random.Random,
        own_key: str | None,
        token: str | None,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._vault = vault
        self._clock = clock
        self._rng = rng
        self._own_key = own_key
        self._token = token

    def identify(self, credential: str | None) -> Caller:
        """The caller behind a Bearer credential; raises Unauthenticated."""
        if self._own_key is not None:
            if self._token is not None and not hmac.compare_digest((credential or "").encode(), self._token.encode()):
                raise Unauthenticated("Send the gateway's token: Authorization: Bearer <GATEWAY_TOKEN>.")
            # One fixed tenant, whatever its key: a new key must find the trainings that the old one began.
            return Caller(f"{ids.TENANT}_own", self._own_key)
        if not credential:
            raise Unauthenticated("Send your PhotoGPT key: Authorization: Bearer <PhotoGPT API key>.")
        if len(credential) > _LONGEST_KEY or not (credential.isascii() and credential.isprintable()):
            raise Unauthenticated("The Bearer credential can't be a PhotoGPT key.")
        return Caller(f"{ids.TENANT}_{self._vault.fingerprint(credential)}", credential)

    def ensure(self, unit: UnitOfWork, caller: Caller) -> Tenant:
        """The caller's tenant row. Only for a caller whose key PhotoGPT has accepted."""
        secret = self._vault.seal(new_secret(self._rng), purpose=_SIGNING_SECRET, owner=caller.tenant_id)
        return unit.tenants.ensure(caller.tenant_id, sealed_signing_secret=secret, now=self._clock.now())

    def keep_key(self, unit: UnitOfWork, caller: Caller) -> None:
        """Keep the caller's key, sealed, for the polls; the sidecar's own stays in the environment."""
        if self._own_key is None:
            unit.tenants.keep_key(caller.tenant_id, self._vault.seal(caller.key, purpose=_KEY, owner=caller.tenant_id))

    def key_for_polls(self, tenant_id: str, sealed_key: bytes | None) -> str | None:
        """The key that polls of this tenant use, or None if none is kept. Raises vault.SealBroken."""
        if self._own_key is not None:
            return self._own_key
        return None if sealed_key is None else self._vault.open(sealed_key, purpose=_KEY, owner=tenant_id)

    async def signing_secret(self, caller: Caller) -> str:
        """The `whsec_` that signs this tenant's callbacks given without a secret; made at the first request for it."""
        tenant = await self._database.read(lambda unit: unit.tenants.get(caller.tenant_id))
        if tenant is None:
            if self._own_key is None:
                await self._photogpt.check_key(caller.key)
            tenant = await self._database.transaction(lambda unit: self.ensure(unit, caller))
        return self._open_signing_secret(tenant.id, tenant.sealed_signing_secret)

    def seal_callback_secret(self, callback_id: str, secret: str) -> bytes:
        return self._vault.seal(secret, purpose=_CALLBACK_SECRET, owner=callback_id)

    def secret_for_delivery(self, due: DueDelivery) -> str:
        """What this delivery is signed with: the callback's own secret, else its tenant's. Raises vault.SealBroken."""
        if due.sealed_callback_secret is not None:
            return self._vault.open(due.sealed_callback_secret, purpose=_CALLBACK_SECRET, owner=due.callback_id)
        return self._open_signing_secret(due.tenant_id, due.sealed_tenant_secret)

    def _open_signing_secret(self, tenant_id: str, sealed: bytes) -> str:
        return self._vault.open(sealed, purpose=_SIGNING_SECRET, owner=tenant_id)
