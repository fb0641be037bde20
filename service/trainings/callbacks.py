"""Callbacks of a training: where they may go, and stored with the request that brings them, each URL once."""

from __future__ import annotations

import random

from service.clock import Clock
from service.domain import ids
from service.domain.errors import Conflict
from service.keyring import Keyring
from service.outbound.guard import Guard
from service.storage.database import UnitOfWork
from service.storage.rows import CallbackRow
from service.tenancy import Caller
from service.trainings.request import CallbackRequest

# With shown URLs of 200 characters and all event types this keeps an event under 4 kB apart from metadata (DESIGN 6).
_MOST_CALLBACKS = 5


class Callbacks:
    def __init__(self, *, keyring: Keyring, guard: Guard, clock: Clock, rng: random.Random) -> None:
        self._keyring = keyring
        self._guard = guard
        self._clock = clock
        self._rng = rng

    def canonical(self, url: str, pointer: str) -> str:
        """The one spelling of a callback's URL; raises InvalidCallback if what it says itself forbids it."""
        return self._guard.canonical(url, pointer)

    async def check_destination(self, asked: CallbackRequest | None) -> None:
        """Raises the same by where its name leads. For keys known to be good: strangers have none looked up."""
        if asked is not None:
            await self._guard.check(asked.url, asked.pointer)

    def put(self, unit: UnitOfWork, caller: Caller, asked: CallbackRequest | None, training_id: str) -> None:
        """Add the callback asked for; one of the same URL hears, and is signed, from now on as asked now.

        Raises Conflict when the training has too many.
        """
        if asked is None:
            return
        known = unit.trainings.callbacks_of(training_id)
        if len(known) >= _MOST_CALLBACKS and all(callback.url != asked.url for callback in known):
            raise Conflict(f"A training has at most {_MOST_CALLBACKS} callbacks.", code="too_many_callbacks")
        now = self._clock.now()
        new_id = ids.new_id(ids.CALLBACK, now, self._rng)
        callback_id = next((callback.id for callback in known if callback.url == asked.url), new_id)
        unit.trainings.put_callback(
            CallbackRow(
                id=new_id,
                tenant_id=caller.tenant_id,
                training_id=training_id,
                url=asked.url,
                events=list(asked.events),
                sealed_secret=self._keyring.seal_secret(callback_id, asked.secret) if asked.secret else None,
                sealed_headers=self._keyring.seal_headers(callback_id, asked.headers),
                created_at=now,
            )
        )
