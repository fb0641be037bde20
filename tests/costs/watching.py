"""A gateway that watches very many models, at a PhotoGPT in this process that takes next to no time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from bench.fakes.photogpt import PhotoGPT
from bench.fakes.wire import Connection
from bench.targets import Place, Watched
from bench.watched import store_watched
from tests.support.gateway import KEY, Gateway, World


class CountedPhotoGPT(PhotoGPT):
    connections = 0

    def connection(self) -> Connection:
        self.connections += 1
        return Connection(self.answer)


@asynccontextmanager
async def photogpt() -> AsyncIterator[tuple[CountedPhotoGPT, str]]:
    """Whose models are all in training, and its address."""
    fake = CountedPhotoGPT()
    fake.reset({"untriggered": "training"})
    server = await asyncio.get_running_loop().create_server(fake.connection, "127.0.0.1", 0)
    try:
        yield fake, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def quiet_gateway(world: World, upstream: str) -> AsyncIterator[Gateway]:
    """In which nothing runs but what a test does."""
    async with world.gateway(
        PHOTOGPT_API_KEY=KEY, PHOTOGPT_BASE_URL=upstream, GATEWAY_POLLS_PER_SECOND=1_000_000.0
    ) as gateway:
        await gateway.components.heartbeat.stop()
        # Makes the one tenant.
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
        yield gateway


def watch_none(world: World) -> None:
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("DELETE FROM trainings")


def watch(world: World, count: int) -> None:
    """So many models are watched, and due now."""
    place = Place(world.folder, 0, "", 0, poll_interval=300)
    store_watched(world.database, place, Watched(count, world.clock.now().timestamp() - 1, 0))
