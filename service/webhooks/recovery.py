"""Sends again what failed: one delivery, or all of a time at one webhook endpoint, as a job that survives a restart.

The event stays the same, and so does its `webhook-id`: a receiver that has it drops it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.domain import ids
from service.domain.endpoint import EndpointStatus
from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Delivery, Recovery, WebhookEndpoint
from service.telemetry.logging import get_logger
from service.tenancy import Caller
from service.webhooks.endpoints import held
from service.webhooks.once import Once, OnceKey

_log = get_logger("recovery")

# Deliveries made due in one transaction: so few that nobody else waits long for the database.
_BATCH = 500
# How often a job of another process, or of before a restart, is looked for; those begun here are known.
_LOOK_SECONDS = 30.0
# The zero of some languages lies before it; ids begin with it.
_EPOCH = datetime.fromtimestamp(0, UTC)


class Recoveries:
    """`lease`: how long an attempt may be under way before its worker counts as dead."""

    def __init__(self, *, database: Database, once: Once, lease: timedelta, clock: Clock, rng: random.Random) -> None:
        self._database = database
        self._once = once
        self._lease = lease
        self._clock = clock
        self._rng = rng
        self._busy: set[str] = set()
        self._looked_at: float | None = None

    async def retry(self, caller: Caller, delivery_id: str) -> None:
        """Send one delivery again, now. Raises NotFound, and Conflict while it is being sent or can't be."""
        await self._database.transaction(lambda unit: self._retry(unit, caller, delivery_id))
        _log.info("resent", delivery_id=delivery_id, tenant_id=caller.tenant_id)

    async def count(self, caller: Caller, endpoint_id: str, since: datetime, until: datetime | None) -> int:
        """How many deliveries `start` would send again. Raises NotFound and InvalidRequest."""
        span = self._span(since, until)

        def count(unit: UnitOfWork) -> int:
            if unit.endpoints.get(caller.tenant_id, endpoint_id) is None:
                raise NotFound("There is no such webhook endpoint.")
            return unit.deliveries.count_failed(endpoint_id, since=span[0], until=span[1])

        return await self._database.read(count)

    async def start(
        self, caller: Caller, endpoint_id: str, since: datetime, until: datetime | None, key: OnceKey | None
    ) -> Recovery:
        """The job, or the one that the same request began before. Raises NotFound, InvalidRequest, Conflict."""
        span = self._span(since, until)
        job = await self._database.transaction(lambda unit: self._start(unit, caller, endpoint_id, span, key))
        self._looked_at = None
        _log.info(
            "recovering", recovery_id=job.id, endpoint_id=endpoint_id, tenant_id=caller.tenant_id, total=job.total
        )
        return job

    async def claim(self, limit: int) -> Claimed[str]:
        """The jobs that nobody in this process works on; looked for when one was begun here, or now and then."""
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
            return Claimed([], more=False)
        self._looked_at = now
        running = await self._database.read(lambda unit: unit.endpoints.running_recoveries(limit + len(self._busy)))
        found = [job for job in running if job not in self._busy]
        self._busy.update(found)
        return Claimed(found, more=False)

    async def work(self, recovery_id: str) -> None:
        """Resend in batches, each with the job's progress in one transaction, to the end."""
        try:
            while await self._database.transaction(lambda unit: self._resend_batch(unit, recovery_id)):
                pass
        finally:
            self._busy.discard(recovery_id)

    def _span(self, since: datetime, until: datetime | None) -> tuple[datetime, datetime]:
        now = self._clock.now()
        until = min(until or now, now)
        since = max(since, _EPOCH)
        if since >= until:
            raise InvalidRequest(
                "`since` must be before `until`, and in the past.", pointer="/since", code="empty_span"
            )
        return since, until

    def _start(
        self, unit: UnitOfWork, caller: Caller, endpoint_id: str, span: tuple[datetime, datetime], key: OnceKey | None
    ) -> Recovery:
        made = self._once.earlier(unit, caller, key)
        earlier = unit.endpoints.recovery(caller.tenant_id, endpoint_id, made) if made else None
        if earlier is not None:
            return earlier
        _sendable(held(unit, caller, endpoint_id))
        now = self._clock.now()
        since, until = span
        job = Recovery(
            id=ids.new_id(ids.RECOVERY, now, self._rng),
            tenant_id=caller.tenant_id,
            endpoint_id=endpoint_id,
            since=since,
            until=until,
            total=unit.deliveries.count_failed(endpoint_id, since=since, until=until),
            created_at=now,
        )
        unit.endpoints.add_recovery(job)
        self._once.made(unit, caller, key, job.id)
        return job

    def _resend_batch(self, unit: UnitOfWork, recovery_id: str) -> bool:
        """Whether there may be more."""
        job = unit.endpoints.hold_recovery(recovery_id)
        if job is None:
            return False
        now = self._clock.now()
        # First, as whoever changes an endpoint and then its deliveries does.
        endpoint = unit.endpoints.hold(job.endpoint_id)
        resent, last = 0, None
        if endpoint is not None and endpoint.deleted_at is None and endpoint.status != EndpointStatus.DISABLED:
            resent, last = unit.deliveries.resend_failed(
                job.endpoint_id, since=job.since, until=job.until, after=job.after, now=now, limit=_BATCH
            )
            if endpoint.status == EndpointStatus.PAUSED:
                unit.deliveries.hold(job.endpoint_id)
        job.resent += resent
        job.after = last or job.after
        job.finished_at = None if last else now
        if last is None:
            _log.info("recovered", recovery_id=job.id, endpoint_id=job.endpoint_id, deliveries=job.resent)
        unit.session.flush()
        return last is not None

    def _retry(self, unit: UnitOfWork, caller: Caller, delivery_id: str) -> None:
        found = unit.deliveries.get(caller.tenant_id, delivery_id)
        if found is None:
            raise NotFound("There is no such delivery.")
        # The endpoint first, as whoever changes one and then its deliveries does.
        self._check_target(unit, found)
        if unit.deliveries.get(caller.tenant_id, delivery_id, hold=True) is None:
            raise NotFound("There is no such delivery.")
        now = self._clock.now()
        if unit.deliveries.under_way(delivery_id, since=now - self._lease):
            raise Conflict("An attempt is under way.", code="in_flight", retry_after=5)
        unit.deliveries.resend(delivery_id, now=now)

    def _check_target(self, unit: UnitOfWork, delivery: Delivery) -> None:
        if delivery.endpoint_id is not None:
            endpoint = unit.endpoints.hold(delivery.endpoint_id)
            if endpoint is None or endpoint.deleted_at is not None:
                raise Conflict("The webhook endpoint was deleted.", code="target_gone")
            _sendable(endpoint)


def _sendable(endpoint: WebhookEndpoint) -> None:
    if endpoint.status != EndpointStatus.ACTIVE:
        detail = f"The webhook endpoint is {endpoint.status}; set its status to active first."
        raise Conflict(detail, code="endpoint_inactive")
