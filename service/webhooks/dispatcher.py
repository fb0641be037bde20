"""When and how a delivery is attempted: claim due deliveries, send each, record the attempt and what follows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.delivery import AttemptOutcome, DeliveryStatus, ErrorClass, after
from service.storage.database import Database
from service.storage.outbox import DueDelivery
from service.telemetry.logging import get_logger
from service.tenancy import Tenancy
from service.vault import SealBroken
from service.webhooks.sender import Sender

_log = get_logger("dispatcher")


class Dispatcher:
    def __init__(
        self,
        *,
        database: Database,
        sender: Sender,
        tenancy: Tenancy,
        schedule: Sequence[timedelta],
        lease: timedelta,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._sender = sender
        self._tenancy = tenancy
        self._schedule = schedule
        self._lease = lease
        self._clock = clock
        self._rng = rng
        self._busy: set[str] = set()

    async def claim(self, limit: int) -> Claimed[DueDelivery]:
        now, busy = self._clock.now(), frozenset(self._busy)
        due = await self._database.transaction(
            lambda unit: unit.outbox.claim_due(now=now, lease_for=self._lease, limit=limit, rng=self._rng, busy=busy)
        )
        self._busy |= {delivery.id for delivery in due}
        return Claimed(due, more=len(due) == limit)

    async def deliver(self, due: DueDelivery) -> None:
        """Make one attempt of a claimed delivery and record it."""
        try:
            await self._deliver(due)
        finally:
            self._busy.discard(due.id)

    async def pull_in(self) -> int:
        """For a wall clock that was put back: nothing waits longer than its step. Returns how many that moved."""
        now = self._clock.now()
        return await self._database.transaction(
            lambda unit: unit.outbox.pull_in(self._schedule, now=now, lease_for=self._lease)
        )

    async def _deliver(self, due: DueDelivery) -> None:
        lease_ends = self._clock.monotonic() + self._lease.total_seconds()
        reached(CrashPoint.ATTEMPT_CLAIMED)
        outcome = await self._attempt(due)
        reached(CrashPoint.ATTEMPT_UNRECORDED)
        now = self._clock.now()
        decision = after(outcome, due.attempts_made + 1, self._schedule, self._rng.random())
        problem = None if decision.status is DeliveryStatus.DELIVERED else _problem(outcome)
        saved = await self._database.settle(
            lambda unit: unit.outbox.record(due, outcome, decision, now=now, problem=problem),
            clock=self._clock,
            until=lease_ends,
        )
        reached(CrashPoint.ATTEMPT_RECORDED)
        _log.info(
            "attempted" if saved else "attempt_outdated",
            delivery_id=due.id,
            training_id=due.training_id,
            event_id=due.event_id,
            attempt=due.attempts_made + 1,
            status=decision.status,
            status_code=outcome.status_code,
            error_class=outcome.error_class,
            duration_ms=round(outcome.duration / timedelta(milliseconds=1)),
            retry_in=decision.retry_in and round(decision.retry_in.total_seconds(), 3),
        )

    async def _attempt(self, due: DueDelivery) -> AttemptOutcome:
        try:
            secret = self._tenancy.secret_for_delivery(due)
        except SealBroken as broken:
            # Unsigned is never sent; the schedule goes on, since the right master key may come back.
            _log.error("secret_unreadable", delivery_id=due.id, reason=str(broken))
            return AttemptOutcome(None, ErrorClass.UNSIGNED, timedelta(0))
        return await self._sender.send(due.url, webhook_id=due.event_id, body=due.body, secret=secret)


_WORDS = {
    ErrorClass.DNS: "the host name could not be resolved",
    ErrorClass.REFUSED: "the connection was refused: nothing listens at that host and port",
    ErrorClass.RESET: "the connection was closed before an answer came",
    ErrorClass.TLS: "the TLS certificate or handshake failed",
    ErrorClass.TIMEOUT: "no complete answer came in time",
    ErrorClass.PROTOCOL: "the answer was not valid HTTP",
    ErrorClass.CONNECT: "no connection could be made",
    ErrorClass.UNSIGNED: "the signing secret could not be opened, so nothing was sent",
    ErrorClass.HTTP_3XX: "it answered with a redirect, which is not followed: give the final URL",
}


def _problem(outcome: AttemptOutcome) -> str:
    """The last delivery problem in plain words: shown with the training."""
    said = f"HTTP {outcome.status_code}" if outcome.status_code else str(outcome.error_class)
    words = _WORDS.get(outcome.error_class) if outcome.error_class else None
    return f"{said}: {words}" if words else f"the receiver answered {said}"
