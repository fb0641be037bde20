"""The gateway as it is released: the command `photogpt-webhooks serve`, a sidecar on SQLite, with default settings.

Changed for every measurement: ports, the poll interval, and the caps that spare PhotoGPT (DESIGN 10 says that
benchmarks lift them). A workload may change more; the report names it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.http_client import Call, Client
from bench.processes import Command, Tree, python
from bench.ready import wait_ready
from bench.rows import Due, store_deliveries
from bench.targets import Place, Watched
from bench.watched import store_watched
from service.environment import environment_without_settings

KEY = "pgpt-bench"
LIFTED: Mapping[str, str] = {
    "GATEWAY_POLLS_PER_SECOND": "1000000",
    "GATEWAY_POLLS_PER_KEY": "4096",
}


class Gateway:
    """`settings` beside those that are lifted, for a variant of it."""

    ready_path = "/readyz"
    also: Sequence[int] = ()

    def __init__(self, name: str = "gateway", settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._settings = settings or {}

    def commands(self, place: Place) -> Sequence[Command]:
        script = Path(sys.executable).with_name("photogpt-webhooks")
        start = [str(script)] if script.exists() else python("-m", "service")
        return [Command([*start, "serve"], self._environment(place))]

    async def prepare(self, place: Place, watched: Watched | None) -> None:
        if watched is not None and watched.count:
            await self._make_database(place)
            await asyncio.to_thread(store_watched, database_file(place), place, watched)

    async def prepare_deliveries(self, place: Place, due: Due) -> None:
        await self._make_database(place)
        await asyncio.to_thread(store_deliveries, database_file(place), place, due)

    def train(self, place: Place, model_id: str, callback_url: str) -> Call:
        del place
        body = json.dumps({"model_id": model_id, "callback_url": callback_url}).encode()
        return Call("POST", "/v1/trainings", {"content-type": "application/json"}, body)

    async def _make_database(self, place: Place) -> None:
        """With its tables, its keys and its tenant: the gateway itself does that. Rows are added while it is down."""
        gateway = Tree(self.commands(place), place.folder)
        try:
            client = Client("127.0.0.1", place.port)
            await wait_ready(client, self.ready_path, gateway)
            await client.json("GET", "/v1/signing-secret")
            client.close()
            await asyncio.to_thread(gateway.terminate)
        finally:
            gateway.close()

    def _environment(self, place: Place) -> dict[str, str]:
        return {
            **environment_without_settings(),
            "PHOTOGPT_BASE_URL": place.photogpt,
            "PHOTOGPT_API_KEY": KEY,
            "DATABASE_URL": f"sqlite:///{database_file(place)}",
            "GATEWAY_PORT": str(place.port),
            "GATEWAY_HEALTH_PORT": "0",
            "GATEWAY_POLL_INTERVAL": str(place.poll_interval),
            "GATEWAY_POLLS_IN_FLIGHT": str(place.polls_in_flight),
            **LIFTED,
            **self._settings,
            **place.settings,
        }


def database_file(place: Place) -> Path:
    return place.folder / "gateway.db"
