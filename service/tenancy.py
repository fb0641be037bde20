"""Who calls, which PhotoGPT key its polls use, and the secret that signs its callbacks given without one.

PhotoGPT keys are sealed and opened in this module; secrets in `keyring`. `storage` has only ciphertexts.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from service.clock import Clock
from service.domain import ids
from service.domain.errors import Unauthenticated
from service.keyring import Keyring
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Tenant
from service.vault import Vault

_KEY = "PhotoGPT key"
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
        keyring: Keyring,
        clock: Clock,
        own_key: str | None,
        token: str | None,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._vault = vault
        self._keyring = keyring
        self._clock = clock
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
        secret = self._keyring.seal_secret(caller.tenant_id, self._keyring.new_secret())
        return unit.tenants.ensure(caller.tenant_id, sealed_signing_secret=secret, now=self._clock.now())

    async def admit(self, caller: Caller) -> None:
        """Ask PhotoGPT whether the key is good, before anything is stored for it. Raises UpstreamRefused."""
        if self._own_key is None:
            await self._photogpt.check_key(caller.key)

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
            await self.admit(caller)
            tenant = await self._database.transaction(lambda unit: self.ensure(unit, caller))
        return self._keyring.open_secret(tenant.id, tenant.sealed_signing_secret)

    async def rotate_signing_secret(self, caller: Caller, overlap: timedelta) -> tuple[str, datetime | None]:
        """A new one, and until when the old one signs, too."""
        await self.signing_secret(caller)
        secret = self._keyring.new_secret()
        until = self._clock.now() + overlap if overlap else None
        sealed = self._keyring.seal_secret(caller.tenant_id, secret)
        await self._database.transaction(lambda unit: unit.tenants.rotate_secret(caller.tenant_id, sealed, until=until))
        return secret, until
