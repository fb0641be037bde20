"""When and how a delivery is attempted: claim due deliveries, send each, record the attempt and what follows.

How much of one host is asked at once is decided by `domain.hosts`, and how much one tenant may have under way by
`domain.shares`; a part of all slots is kept for first attempts, so that no backlog of retries delays what happens now.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.delivery import AttemptOutcome, ErrorClass, after
from service.domain.hosts import Hosts
from service.domain.shares import Shares
from service.domain.traceparent import trace_of
from service.keyring import Keyring
from service.storage.database import Database
from service.storage.due_delivery import DueDelivery, SendLimits
from service.telemetry.logging import bound, get_logger
from service.vault import SealBroken
from service.webhooks.record import OutcomeRecorder
from service.webhooks.sender import Message, Sender

_log = get_logger("dispatcher")

_GIVE_UP_BATCH = 500


@dataclass(frozen=True, slots=True)
class Pace:
    """When the attempts of a delivery are (`schedule`: the time before each), how many retries are under way at once,
    and for how long a delivery is claimed.
    """

    schedule: Sequence[timedelta]
    retries_in_flight: int
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Bulkheads:
    """How many attempts may be under way at once: at one host, and for one tenant."""

    hosts: Hosts
    tenants: Shares


class Dispatcher:
    def __init__(
        self,
        *,
        database: Database,
        sender: Sender,
        keyring: Keyring,
        recorder: OutcomeRecorder,
        bulkheads: Bulkheads,
        pace: Pace,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._sender = sender
        self._keyring = keyring
        self._recorder = recorder
        self._hosts = bulkheads.hosts
        self._shares = bulkheads.tenants
        self._pace = pace
        self._clock = clock
        self._rng = rng
        # Whether each delivery under way is a retry.
        self._busy: dict[str, bool] = {}

    async def claim(self, limit: int) -> Claimed[DueDelivery]:
        limits = self._limits()
        now = self._clock.now()
        due = await self._database.transaction(
            lambda unit: unit.outbox.claim_due(
                now=now, lease_for=self._pace.lease, limit=limit, rng=self._rng, limits=limits
            )
        )
        for delivery in due:
            self._busy[delivery.id] = delivery.is_retry
            self._hosts.started(delivery.host, self._clock.monotonic())
            self._shares.started(delivery.tenant_id)
        return Claimed(due, more=len(due) == limit or limits.left_out_by(due))

    async def deliver(self, due: DueDelivery) -> None:
        """Make one attempt of a claimed delivery and record it."""
        outcome = None
        try:
            # Whatever is said meanwhile is about it: a refused destination, a secret that can't be opened.
            with bound(delivery_id=due.id):
                outcome = await self._deliver(due)
        finally:
            self._busy.pop(due.id, None)
            self._shares.ended(due.tenant_id)
            self._hosts.ended(due.host, outcome, self._clock.monotonic())

    @property
    def hosts(self) -> tuple[int, int]:
        """Of how many hosts something is remembered, and how many of these do not answer."""
        return len(self._hosts), sum(1 for _ in self._hosts.unavailable())

    async def pull_in(self) -> int:
        """For a wall clock that was put back: nothing waits longer than its step. Returns how many that moved."""
        now = self._clock.now()
        return await self._database.transaction(
            lambda unit: unit.outbox.pull_in(self._pace.schedule, now=now, lease_for=self._pace.lease)
        )

    async def give_up_waiting(self) -> int:
        """Bury what has waited too long for a host that does not answer. How many; more may be left."""
        hosts, now = list(self._hosts.unavailable()), self._clock.now()
        if not hosts:
            return 0
        return await self._database.transaction(
            lambda unit: unit.outbox.give_up_waiting(hosts, now=now, limit=_GIVE_UP_BATCH)
        )

    def _limits(self) -> SendLimits:
        now = self._clock.monotonic()
        return SendLimits(
            busy=frozenset(self._busy),
            rooms=self._hosts.rooms(now),
            others=self._hosts.room_of_others,
            crowded=self._hosts.crowded(now),
            tenants=self._shares.rooms(),
            per_tenant=self._shares.most,
            retries=self._pace.retries_in_flight - sum(self._busy.values()),
        )

    async def _deliver(self, due: DueDelivery) -> AttemptOutcome:
        lease_ends = self._clock.monotonic() + self._pace.lease.total_seconds()
        reached(CrashPoint.ATTEMPT_CLAIMED)
        outcome = await self._attempt(due)
        reached(CrashPoint.ATTEMPT_UNRECORDED)
        now = self._clock.now()
        decision = after(outcome, due.attempts_made + 1, self._schedule_of(due), self._rng.random())
        saved = await self._database.settle(
            lambda unit: self._recorder.save(unit, due, outcome, decision, now=now),
            of=due.tenant_id,
            clock=self._clock,
            until=lease_ends,
        )
        reached(CrashPoint.ATTEMPT_RECORDED)
        _log.info(
            "attempted" if saved else "attempt_outdated",
            training_id=due.training_id,
            event_id=due.event_id,
            target_id=due.target.id,
            attempt=due.attempts_made + 1,
            status=decision.status,
            status_code=outcome.status_code,
            error_class=outcome.error_class,
            duration_ms=round(outcome.duration / timedelta(milliseconds=1)),
            retry_in=decision.retry_in and round(decision.retry_in.total_seconds(), 3),
            **trace_of(due.traceparent),
        )
        return outcome

    def _schedule_of(self, due: DueDelivery) -> Sequence[timedelta]:
        if due.schedule is None:
            return self._pace.schedule
        return [timedelta(seconds=step) for step in due.schedule]

    async def _attempt(self, due: DueDelivery) -> AttemptOutcome:
        try:
            secrets = self._keyring.secrets_of(due)
            headers = self._keyring.headers_of(due.target.id, due.target.sealed_headers)
        except SealBroken as broken:
            # Unsigned is never sent; the schedule goes on, since the right master key may come back.
            _log.error("secret_unreadable", target_id=due.target.id, reason=str(broken))
            return AttemptOutcome(None, ErrorClass.UNSIGNED, timedelta(0))
        about = {"delivery_id": due.id, "training_id": due.training_id, "attempt": due.attempts_made + 1}
        message = Message(due.event_id, due.body, secrets, self._keyring.sign, headers, about, due.traceparent)
        return await self._sender.send(due.target.url, message)
