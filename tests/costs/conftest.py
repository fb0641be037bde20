from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from tests.costs.counting import Ear, PostgresEar, listening_to_sqlite
from tests.support import gateway as support
from tests.support.gateway import KEY, Gateway, World
from tests.support.postgres import stoppable_postgres

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway


@dataclass(frozen=True)
class Heard:
    """A gateway of which every statement is heard; nothing runs in it but what a test does."""

    database: str
    gateway: Gateway
    ear: Ear


@pytest.fixture(scope="module")
def chatty_postgres() -> Iterator[tuple[str, PostgresEar]]:
    """A server of its own, which writes every statement into its log."""
    with stoppable_postgres(log_statement="all") as server, server.running(last=True):
        yield server.url, PostgresEar(server.log)


@pytest.fixture(params=["sqlite", "postgres"])
async def heard(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Heard]:
    if request.param == "sqlite":
        with listening_to_sqlite() as ear:
            async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
                await gateway.components.heartbeat.stop()
                yield Heard("sqlite", gateway, ear)
    else:
        url, ear = request.getfixturevalue("chatty_postgres")
        async with world.gateway(PHOTOGPT_API_KEY=KEY, DATABASE_URL=url) as gateway:
            await gateway.components.heartbeat.stop()
            yield Heard("postgres", gateway, ear)
