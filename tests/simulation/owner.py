"""Whoever subscribes: webhook endpoints that are paused, rotated and mended, and a reader of all events.

In the calm afterwards what failed is sent again, so that in the end an endpoint has heard of everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from service.components import Components
from service.domain.errors import GatewayError
from service.storage.tables import Event
from service.tenancy import Caller
from service.webhooks.once import OnceKey
from tests.simulation.virtual_time import START
from tests.simulation.world import ProcessEndedError, World

_BETWEEN_RECOVERIES = 600.0


class Owner:
    """One tenant's, with one endpoint; `followed` are the ids of the events that its reader has seen."""

    def __init__(self, world: World, key: str) -> None:
        self._world = world
        self._key = key
        self._endpoint: str | None = None
        self._position = 0
        self._recover_at = 0.0
        self.followed: list[str] = []

    async def play(self) -> None:
        """As long as there is trouble."""
        rng = self._world.rng
        while self._world.faults.on:
            await asyncio.sleep(rng.uniform(1, 90))
            with suppress(ProcessEndedError, GatewayError):
                await self._turn()

    async def mend(self) -> None:
        """It is active again; and once nothing is on its way there, what failed is sent again."""
        rows = self._world.judge.rows
        if rows("SELECT id FROM webhook_endpoints WHERE id = ? AND status != 'active'", self._endpoint):
            await self._change({"status": "active"})
        undelivered = "SELECT DISTINCT status FROM deliveries WHERE endpoint_id = ? AND status != 'delivered'"
        # What was made before the clock was put back lies ahead for a while, and no recovery finds it.
        if rows(undelivered, self._endpoint) == [("dead",)] and self._world.clock.monotonic() >= self._recover_at:
            self._recover_at = self._world.clock.monotonic() + _BETWEEN_RECOVERIES
            await self._recover()

    async def follow(self) -> None:
        """Read what is new. Each event comes at the place after the one before: none is skipped, none comes again."""
        rows = await self._world.ask(self._key, self._new_events)
        for event in rows:
            self._position += 1
            if event.position != self._position:
                self._world.broken.append(f"a reader who had seen {self._position - 1} was given {event.position}")
            self.followed.append(event.id)

    async def _turn(self) -> None:
        rng = self._world.rng
        await self.follow()
        if self._endpoint is None:
            await self._subscribe()
        elif rng.random() < 0.2:
            await self._change({"status": rng.choice(("active", "paused"))})
        elif rng.random() < 0.1:
            await self._world.ask(self._key, self._rotate)
        elif rng.random() < 0.1:
            await self._recover()

    async def _subscribe(self) -> None:
        # So short that much of what goes there is given up.
        given = {"url": f"https://endpoint.example/{self._key}", "retry_schedule": [0.0, 5.0]}

        # Asked for again when the answer was lost, and made once.
        once = OnceKey.of(f"subscribe {self._key}", "webhook-endpoints", given)

        async def create(parts: Components, caller: Caller) -> dict[str, Any]:
            return await parts.webhooks.endpoints.create(caller, given, once)

        self._endpoint = (await self._world.ask(self._key, create))["id"]

    async def _change(self, changes: Mapping[str, Any]) -> None:
        async def change(parts: Components, caller: Caller) -> dict[str, Any]:
            assert self._endpoint is not None
            return await parts.webhooks.endpoints.change(caller, self._endpoint, changes)

        await self._world.ask(self._key, change)

    async def _recover(self) -> None:
        async def recover(parts: Components, caller: Caller) -> object:
            assert self._endpoint is not None
            since = START - timedelta(days=1)
            return await parts.webhooks.recoveries.start(caller, self._endpoint, since, None, None)

        await self._world.ask(self._key, recover)

    async def _rotate(self, parts: Components, caller: Caller) -> object:
        assert self._endpoint is not None
        return await parts.webhooks.endpoints.rotate(caller, self._endpoint, None, timedelta(hours=1))

    async def _new_events(self, parts: Components, caller: Caller) -> Sequence[Event]:
        return await parts.database.read(lambda unit: unit.events.after(caller.tenant_id, self._position, limit=7))
