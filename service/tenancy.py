"""Who calls and how often, which PhotoGPT key its polls use, and what signs its callbacks given without a secret.

PhotoGPT keys are sealed and opened in this module; secrets in `keyring`. `storage` has only ciphertexts. How keys that
nobody knows are let in: `admission`.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from service.admission import Admission
from service.clock import Clock
from service.domain import ids
from service.domain.errors import RateLimited, Unauthenticated
from service.domain.secret import Secret
from service.domain.token_bucket import TokenBuckets
from service.keyring import Keyring
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Tenant
from service.vault import Vault

_KEY = "PhotoGPT key"
_LONGEST_KEY = 512
# A caller that was quiet may send so many seconds' worth of requests at once.
_BURST_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    tenant_id: str
    key: Secret


def on_behalf_of(tenant_id: str) -> Caller:
    """For an operator, who acts on what a tenant has stored, and has no key of theirs."""
    return Caller(tenant_id, Secret(""))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tenant may have at a time, and how many requests it may send; None: any number."""

    trainings: int | None
    endpoints: int
    requests_per_second: float | None
    deliveries: int | None


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
        limits: Limits,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._vault = vault
        self._keyring = keyring
        self._clock = clock
        self._own_key = None if own_key is None else Secret(own_key)
        self._token = None if token is None else Secret(token)
        self._admission = Admission(clock)
        self.limits = limits
        rate = limits.requests_per_second
        self._pace = None if rate is None else TokenBuckets(rate, max(1.0, rate * _BURST_SECONDS))

    def identify(self, credential: str | None) -> Caller:
        """The caller behind a Bearer credential; raises Unauthenticated."""
        if self._own_key is not None:
            if self._token is not None and not _same(credential or "", self._token):
                raise Unauthenticated("Send the gateway's token: Authorization: Bearer <GATEWAY_TOKEN>.")
            # One fixed tenant, whatever its key: a new key must find the trainings that the old one began.
            return Caller(f"{ids.TENANT}_own", self._own_key)
        if not credential:
            raise Unauthenticated("Send your PhotoGPT key: Authorization: Bearer <PhotoGPT API key>.")
        if len(credential) > _LONGEST_KEY or not (credential.isascii() and credential.isprintable()):
            raise Unauthenticated("The Bearer credential can't be a PhotoGPT key.")
        return Caller(f"{ids.TENANT}_{self._vault.fingerprint(credential)}", Secret(credential))

    def pace(self, caller: Caller) -> None:
        """Count one request of this caller. Raises RateLimited when it comes too fast."""
        if self._pace is None:
            return
        seconds = self._pace.take(caller.tenant_id, self._clock.monotonic())
        if seconds:
            raise RateLimited(
                "You send more requests a second than one PhotoGPT key may here; GET /v1/account has the limit.",
                retry_after=math.ceil(seconds),
            )

    def ensure(self, unit: UnitOfWork, caller: Caller) -> Tenant:
        """The caller's tenant row. Only for a caller whose key PhotoGPT has accepted."""

        def new_secret() -> bytes:
            return self._keyring.seal_secret(caller.tenant_id, self._keyring.new_secret())

        return unit.tenants.ensure(caller.tenant_id, new_secret=new_secret, now=self._clock.now())

    async def admit(self, caller: Caller) -> None:
        """Let PhotoGPT say whether a key that is new here is good, before anything is stored, sent or held open for it.

        Raises UpstreamRefused, UpstreamUnreachable and RateLimited.
        """
        await self.admit_by(caller, lambda: self._photogpt.check_key(caller.key))

    async def admit_by(self, caller: Caller, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The same by another question that only a good key has answered, and what it got if it was asked."""
        if await self._is_known(caller):
            return None
        return await self._admission.check(caller.tenant_id, ask)

    async def _is_known(self, caller: Caller) -> bool:
        """Whoever has a row never waits for those who have none."""
        if self._own_key is not None:
            return True
        lately = self._admission.admits(caller.tenant_id)
        if lately is not None:
            return lately
        if await self._database.read(lambda unit: unit.tenants.get(caller.tenant_id)) is None:
            return False
        self._admission.know(caller.tenant_id)
        return True

    def keep_key(self, unit: UnitOfWork, caller: Caller) -> None:
        """Keep the caller's key, sealed, for the polls; the sidecar's own stays in the environment."""
        if self._own_key is None:
            unit.tenants.keep_key(caller.tenant_id, self._seal_key(caller))

    def key_for_polls(self, tenant_id: str, sealed_key: bytes | None) -> Secret | None:
        """The key that polls of this tenant use, or None if none is kept. Raises vault.SealBroken."""
        if self._own_key is not None:
            return self._own_key
        return None if sealed_key is None else Secret(self._vault.open(sealed_key, purpose=_KEY, owner=tenant_id))

    async def signing_secret(self, caller: Caller) -> str:
        """The `whsec_` that signs this tenant's callbacks given without a secret; made at the first request for it."""
        await self.admit(caller)
        tenant = await self._database.read(lambda unit: unit.tenants.get(caller.tenant_id))
        if tenant is None:
            tenant = await self._database.transaction(lambda unit: self.ensure(unit, caller))
        return self._keyring.open_secret(tenant.id, tenant.sealed_signing_secret).reveal()

    async def rotate_signing_secret(self, caller: Caller, overlap: timedelta) -> tuple[str, datetime | None]:
        """A new one, and until when the old one signs, too."""
        await self.signing_secret(caller)
        secret = self._keyring.new_secret()
        until = self._clock.now() + overlap if overlap else None
        sealed = self._keyring.seal_secret(caller.tenant_id, secret)
        await self._database.transaction(lambda unit: unit.tenants.rotate_secret(caller.tenant_id, sealed, until=until))
        return secret, until

    def _seal_key(self, caller: Caller) -> bytes:
        return self._vault.seal(caller.key.reveal(), purpose=_KEY, owner=caller.tenant_id)


def _same(credential: str, token: Secret) -> bool:
    """In a time that says nothing of the token; its bytes, since a header's are shown as Latin-1 whatever they are."""
    sent = credential.encode("latin-1", "backslashreplace")
    return hmac.compare_digest(sent, token.reveal().encode("utf-8", "surrogatepass"))
