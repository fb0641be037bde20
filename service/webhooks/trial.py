"""A test event: one attempt to a webhook endpoint or a URL, by the same path as any other, with its outcome at once.

It is no event: not stored, not retried, and nothing is concluded from it. It counts among what its tenant has under
way, and a tenant sends only so many.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from typing import Any

from service.clock import Clock
from service.domain import ids
from service.domain.delivery import AttemptOutcome, ErrorClass
from service.domain.errors import NotFound, RateLimited
from service.domain.event import event_body, rfc3339
from service.domain.secret import Secret
from service.domain.shares import Shares
from service.domain.token_bucket import TokenBuckets
from service.keyring import Keyring
from service.storage.database import Database
from service.storage.due_delivery import current_secrets
from service.tenancy import Caller
from service.vault import SealBroken
from service.webhooks.problem import problem_of
from service.webhooks.sender import Message, Sender

TEST_EVENT = "webhook.test"
# Of one tenant: enough for a person who tries, and not for a program that looks where it is let.
_PER_SECOND = 1.0
_BURST = 20
_NOTE = "A test event. Answer 2xx; nothing happened to any training."


class Trial:
    def __init__(
        self,
        *,
        database: Database,
        sender: Sender,
        keyring: Keyring,
        shares: Shares,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._sender = sender
        self._keyring = keyring
        self._shares = shares
        self._pace = TokenBuckets(_PER_SECOND, _BURST)
        self._clock = clock
        self._rng = rng

    async def endpoint(self, caller: Caller, endpoint_id: str) -> dict[str, Any]:
        """One signed test event to this endpoint, paused or not, with its headers. Raises NotFound and RateLimited."""
        row = await self._database.read(lambda unit: unit.endpoints.get(caller.tenant_id, endpoint_id))
        if row is None:
            raise NotFound("There is no such webhook endpoint.")
        now = self._clock.now()
        sealed = current_secrets(row.sealed_secret, row.sealed_previous_secret, row.previous_secret_until, now)
        try:
            secrets = [self._keyring.open_secret(row.id, secret) for secret in sealed]
            headers = self._keyring.headers_of(row.id, row.sealed_headers)
        except SealBroken:
            unsigned = AttemptOutcome(None, ErrorClass.UNSIGNED, timedelta(0))
            return _told(ids.new_id(ids.EVENT, now, self._rng), unsigned, now)
        return await self._send(caller, row.url, secrets, headers)

    async def url(self, caller: Caller, url: str, secret: str, headers: dict[str, str]) -> dict[str, Any]:
        """The same to a canonical URL, as a callback there would be sent. Raises RateLimited."""
        return await self._send(caller, url, [Secret(secret)], {name: Secret(value) for name, value in headers.items()})

    async def _send(
        self, caller: Caller, url: str, secrets: list[Secret], headers: dict[str, Secret]
    ) -> dict[str, Any]:
        self._refuse_too_many(caller)
        now = self._clock.now()
        webhook_id = ids.new_id(ids.EVENT, now, self._rng)
        body = event_body(TEST_EVENT, now, {"note": _NOTE})
        self._shares.started(caller.tenant_id)
        try:
            outcome = await self._sender.send(url, Message(webhook_id, body, secrets, self._keyring.sign, headers))
        finally:
            self._shares.ended(caller.tenant_id)
        return _told(webhook_id, outcome, now)

    def _refuse_too_many(self, caller: Caller) -> None:
        if not self._shares.has_room(caller.tenant_id):
            raise RateLimited(
                f"{self._shares.most} webhooks to you are under way, which is the most. Try again when one has ended.",
                code="too_many_deliveries",
                retry_after=1,
            )
        seconds = self._pace.take(caller.tenant_id, self._clock.monotonic())
        if seconds:
            raise RateLimited(
                f"Too many test events: {_BURST} at once and then {_PER_SECOND:g} a second are the most.",
                code="too_many_tests",
                retry_after=math.ceil(seconds),
            )


def _told(webhook_id: str, outcome: AttemptOutcome, started_at: datetime) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "delivered": outcome.succeeded,
        "problem": problem_of(outcome),
        "attempt": {
            "started_at": rfc3339(started_at),
            "duration_ms": round(outcome.duration / timedelta(milliseconds=1)),
            "status_code": outcome.status_code,
            "error_class": outcome.error_class,
            "excerpt": outcome.excerpt,
        },
    }
