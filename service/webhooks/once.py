"""Idempotency-Keys of requests that make something here, in one transaction: the same request makes it once in 24 h.

Only the id of what was made is kept, never the answer, which may have a secret in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.clock import Clock
from service.domain.errors import Conflict, IdempotencyMismatch
from service.storage.database import UnitOfWork
from service.storage.tables import IdempotencyKey
from service.tenancy import Caller

_KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class OnceKey:
    """An Idempotency-Key, and what tells one request from another."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, route: str, body: Mapping[str, Any]) -> OnceKey | None:
        if key is None:
            return None
        content = json.dumps([route, body], sort_keys=True, default=str)
        return cls(key, hashlib.sha256(content.encode()).hexdigest())


class Once:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def earlier(self, unit: UnitOfWork, caller: Caller, key: OnceKey | None) -> str | None:
        """The id of what the same request made before. Raises IdempotencyMismatch for another request's key."""
        if key is None:
            return None
        record = unit.idempotency.get(caller.tenant_id, key.key, not_before=self._clock.now() - _KEPT)
        if record is None:
            return None
        if record.fingerprint != key.fingerprint:
            raise IdempotencyMismatch("This Idempotency-Key was used with another request; use a new one.")
        return str((record.outcome or {})["id"])

    def made(self, unit: UnitOfWork, caller: Caller, key: OnceKey | None, made_id: str) -> None:
        """Keep what was made; Conflict, which undoes the transaction, if another request took the key just now."""
        if key is None:
            return
        now = self._clock.now()
        record = IdempotencyKey(
            tenant_id=caller.tenant_id,
            key=key.key,
            fingerprint=key.fingerprint,
            outcome={"id": made_id},
            created_at=now,
        )
        if unit.idempotency.claim(record, not_before=now - _KEPT) is not None:
            raise Conflict("Another request with this Idempotency-Key is under way.", code="in_flight", retry_after=1)
