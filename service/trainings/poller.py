"""When and how a watched model is polled: claim due trainings, read each model, record what that means."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

from service.clock import Clock
from service.domain.backoff import poll_delay
from service.domain.training import KeyRefused, Observation, Rules, Seen, Status, Unreadable, Watch, is_known, observe
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.trainings import DueTraining
from service.telemetry.logging import get_logger
from service.tenancy import Tenancy
from service.trainings.record import Held, Recorder
from service.vault import SealBroken

_log = get_logger("poller")


class Poller:
    def __init__(
        self,
        *,
        database: Database,
        photogpt: PhotoGPT,
        tenancy: Tenancy,
        recorder: Recorder,
        rules: Rules,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._tenancy = tenancy
        self._recorder = recorder
        self._rules = rules
        self._clock = clock
        self._rng = rng

    async def claim(self, limit: int) -> Sequence[DueTraining]:
        now = self._clock.now()
        return await self._database.transaction(
            lambda unit: unit.trainings.claim_due(now=now, lease=self._rules.lease, limit=limit)
        )

    async def poll(self, due: DueTraining) -> None:
        """Read one claimed model and record what it means."""
        seen = await self._read(due)
        now = self._clock.now()
        after = observe(due.watch, seen, now, self._rules)
        retry_after = seen.retry_after if isinstance(seen, Unreadable) else None
        delay = poll_delay(self._rules.poll_interval, now - due.watch.since, self._rng.random(), retry_after)

        def record(unit: UnitOfWork) -> bool:
            held = Held(due.id, due.fence, due.watch)
            due_at = None if after.suspended else now + delay
            adopted = due.watch.status is Status.SUBMITTING and after.status is not Status.SUBMITTING
            changes = {"last_polled_at": now}
            if adopted and isinstance(seen, Observation):
                changes["triggered_at"] = due.created_at
            return self._recorder.save(unit, held, after, now=now, due_at=due_at, changes=changes) is not None

        saved = await self._database.transaction(record)
        self._log(due, seen, after, saved=saved)

    async def pull_in(self) -> int:
        """After a restart with a shorter interval, or a crash that left leases: nothing waits longer than one poll."""
        latest = self._clock.now() + poll_delay(self._rules.poll_interval, timedelta(0), 1, None)
        return await self._database.transaction(lambda unit: unit.trainings.pull_in(latest=latest))

    async def _read(self, due: DueTraining) -> Seen:
        try:
            key = self._tenancy.key_for_polls(due.tenant_id, due.sealed_key)
        except SealBroken as broken:
            _log.error("key_unreadable", training_id=due.id, reason=str(broken))
            return Unreadable("key_unreadable")
        return KeyRefused() if key is None else await self._photogpt.poll(key, due.model_id)

    def _log(self, due: DueTraining, seen: Seen, after: Watch, *, saved: bool) -> None:
        log = _log.bind(training_id=due.id, model_id=due.model_id)
        if not saved:
            log.info("poll_outdated")
        elif after.status is not due.watch.status:
            log.info("status_changed", status=after.status, before=due.watch.status)
        elif after.suspended:
            log.warning("suspended", reason="PhotoGPT refuses the key")
        elif isinstance(seen, Unreadable):
            log.warning("poll_unreadable", reason=seen.reason)
        elif (
            isinstance(seen, Observation) and not is_known(seen.raw_status) and seen.raw_status != due.watch.raw_status
        ):
            log.warning("unknown_upstream_status", upstream_status=seen.raw_status)
        else:
            log.debug("polled", seen=type(seen).__name__)
