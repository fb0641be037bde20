"""When the queue of a tenant moves: what a try, its outcome and a new request do to it, inside their transactions."""

from __future__ import annotations

from datetime import datetime, timedelta

from service.domain.queue import pause_after, soonest_try
from service.domain.training import QueueRules
from service.storage.database import UnitOfWork


class Queueing:
    def __init__(self, rules: QueueRules) -> None:
        self._rules = rules

    def goes_behind(self, unit: UnitOfWork, tenant_id: str, now: datetime) -> bool:
        """Whether a new request has to wait, without a try of its own; if not, this is noted as its try.

        It has to behind others that wait, while another's try is under way, and soon after a try in vain.
        """
        queue = unit.queues.hold(tenant_id)
        soonest = soonest_try(now, queue.tried_at, self._rules)
        in_vain = queue.tries > 0 and soonest > now
        if not (in_vain or unit.queues.has_waiting(tenant_id) or unit.queues.is_trying(tenant_id)):
            unit.queues.put(tenant_id, tried_at=now)
            return False
        if queue.due_at is None or queue.due_at < soonest:
            unit.queues.put(tenant_id, due_at=soonest)
        return True

    def tried(self, unit: UnitOfWork, tenant_id: str, now: datetime, lease: timedelta) -> None:
        """The first of the queue is being triggered."""
        unit.queues.put(tenant_id, tried_at=now, due_at=now + lease)

    def in_vain(self, unit: UnitOfWork, tenant_id: str, now: datetime, retry_after: timedelta | None = None) -> None:
        """Nothing was started: the queue rests, for longer each time."""
        tries = unit.queues.hold(tenant_id).tries + 1
        unit.queues.put(tenant_id, tries=tries, due_at=now + pause_after(tries, self._rules, retry_after))

    def next(self, unit: UnitOfWork, tenant_id: str, now: datetime, *, started: bool) -> None:
        """The first has left the queue; the next one has its turn after the least pause."""
        due_at = now + self._rules.pause if unit.queues.has_waiting(tenant_id) else None
        unit.queues.put(tenant_id, due_at=due_at, **({"tries": 0} if started else {}))
