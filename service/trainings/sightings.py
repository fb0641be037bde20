"""What passes by is seen: a caller's own look at a model, answered through the proxy, is as good as a poll of ours.

It is looked at after the answer has gone, in the background, and a bounded number at a time: what is left out, or can't
be read, loses nothing, since our own polls go on. Only a good answer (200) says anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.clock import Clock
from service.domain.errors import StorageUnavailable
from service.domain.sighting import counts, is_worth_storing
from service.domain.sweep import CONFIRMED_LATELY
from service.domain.training import TERMINAL, Observation, Rules, Status, observe
from service.outbound.exchange import Answer
from service.photogpt.answers import model_reading, says_ok
from service.photogpt.decoding import decoded
from service.photogpt.listing import Listing, listing
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import DueTraining
from service.telemetry.logging import get_logger
from service.trainings.reading import Reading, Readings

_log = get_logger("sightings")

MOST_BYTES, MOST_BYTES_OF_LIST = 256 * 1024, 1024 * 1024
_MOST_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Sighting:
    """A 200 of PhotoGPT's to a request of a tenant that `began` then: about one model, or, without `model_id`, all.

    `chunks` are its body as it passed, in the content coding `coding`.
    """

    tenant_id: str
    began: datetime
    model_id: str | None
    deletes: bool
    coding: str
    chunks: Sequence[bytes]

    @property
    def most_bytes(self) -> int:
        return MOST_BYTES_OF_LIST if self.model_id is None else MOST_BYTES


class Sightings:
    def __init__(self, *, database: Database, readings: Readings, rules: Rules, clock: Clock) -> None:
        self._database = database
        self._readings = readings
        self._rules = rules
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    def notice(self, sighting: Sighting) -> None:
        """Look at it when there is time; at once, and without an error whatever it is."""
        if len(self._under_way) >= _MOST_AT_ONCE:
            return
        task = asyncio.create_task(self._guarded(sighting))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for those under way, and leave out the rest."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _guarded(self, sighting: Sighting) -> None:
        about = {"tenant_id": sighting.tenant_id, "model_id": sighting.model_id}
        try:
            await (self._all_models(sighting) if sighting.model_id is None else self._one_model(sighting))
        except StorageUnavailable as unavailable:
            _log.warning("sighting_lost", **about, reason=str(unavailable))
        except Exception:  # noqa: BLE001  # logged with its traceback; our own poll will see the same
            _log.exception("sighting_failed", **about)

    async def _one_model(self, sighting: Sighting) -> None:
        seen = self._seen(sighting)
        if seen is None or not await self._database.read(lambda unit: self._is_news(unit, sighting, seen)):
            return
        reading = await self._database.transaction(lambda unit: self._store(unit, sighting, seen))
        if reading is not None:
            after = reading.after
            _log.info("seen_passing", training_id=reading.due.id, model_id=reading.due.model_id, status=after.status)

    def _seen(self, sighting: Sighting) -> Observation | None:
        answer = _answer(sighting)
        if answer is None:
            return None
        if sighting.deletes:
            return Observation("deleted") if says_ok(answer) else None
        seen = model_reading(answer, sighting.model_id or "", self._clock.now())
        return seen if isinstance(seen, Observation) else None

    def _is_news(self, unit: UnitOfWork, sighting: Sighting, seen: Observation) -> bool:
        return unit.sightings.any_suspended(sighting.tenant_id) or self._judge(unit, sighting, seen) is not None

    def _store(self, unit: UnitOfWork, sighting: Sighting, seen: Observation) -> Reading | None:
        self._resume(unit, sighting.tenant_id)
        reading = self._judge(unit, sighting, seen, hold=True)
        return reading if reading is not None and self._readings.save(unit, reading) else None

    def _judge(self, unit: UnitOfWork, sighting: Sighting, seen: Observation, *, hold: bool = False) -> Reading | None:
        """What it means, if that is worth to be stored."""
        due = unit.sightings.of_model(sighting.tenant_id, sighting.model_id or "", hold=hold)
        if due is None or not counts(due.watch, due.last_polled_at, sighting.began, self._rules):
            return None
        now = self._clock.now()
        reading = self._readings.judge(due, seen, now)
        if not is_worth_storing(due.watch, reading.after, due.last_polled_at, now, self._rules):
            return None
        # Another that began later, and has ended already, may know more.
        return replace(reading, changes={**reading.changes, "last_polled_at": sighting.began})

    async def _all_models(self, sighting: Sighting) -> None:
        answer = _answer(sighting)
        listed = None if answer is None else listing(answer, self._clock.now())
        if not isinstance(listed, Listing):
            return
        now = self._clock.now()

        def ended(unit: UnitOfWork) -> list[DueTraining]:
            return [
                training
                for training in unit.sightings.in_training(sighting.tenant_id)
                if (said := listed.models.get(training.model_id)) is not None
                and counts(training.watch, training.last_polled_at, sighting.began, self._rules)
                and observe(training.watch, said, now, self._rules).status in TERMINAL - {Status.EXPIRED}
                and now - (training.last_polled_at or training.watch.since) >= lately
            ]

        def store(unit: UnitOfWork) -> None:
            self._resume(unit, sighting.tenant_id)
            unit.sweeps.confirm(ended(unit), now=now)

        lately = CONFIRMED_LATELY * self._rules.poll_interval
        if await self._database.read(
            lambda unit: bool(ended(unit)) or unit.sightings.any_suspended(sighting.tenant_id)
        ):
            await self._database.transaction(store)

    def _resume(self, unit: UnitOfWork, tenant_id: str) -> None:
        """The key works: PhotoGPT has just answered to it."""
        if unit.sightings.any_suspended(tenant_id):
            unit.trainings.resume_suspended(tenant_id, now=self._clock.now())


def _answer(sighting: Sighting) -> Answer | None:
    body = decoded(sighting.chunks, sighting.coding, sighting.most_bytes)
    return None if body is None else Answer(200, {}, body, complete=True, duration=timedelta(0))
