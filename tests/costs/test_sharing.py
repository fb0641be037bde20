"""What many share: a commit those that are due together, and a connection what goes to one receiver."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bench.fakes.wire import Connection, Reply, Request
from tests.costs.bounds import COMMITS_OF_100_POLLS, CONNECTIONS_OF_100_POLLS, CONNECTIONS_OF_100_WEBHOOKS
from tests.costs.counting import listening_to_sqlite
from tests.costs.watching import photogpt, quiet_gateway, watch
from tests.support.gateway import Gateway, World
from tests.support.outage import busy_writer, waiting_to_be_recorded
from tests.support.waiting import wait_until
from tests.webhooks.ready_events import becomes_ready, subscribe

_COUNT = 100


async def test_models_that_are_due_together_share_two_commits(world: World) -> None:
    async with photogpt() as (fake, url):
        with listening_to_sqlite() as ear:
            async with quiet_gateway(world, url) as gateway:
                database, polls = gateway.components.database, gateway.components.loops.polls
                watch(world, _COUNT)
                ear.take()
                claimed = (await polls._claim(_COUNT)).items
                commits = ear.take().commits
                # What comes of them meets in one commit, however slow the machine is: nobody writes before all wait.
                async with busy_writer(database):
                    polling = [asyncio.ensure_future(polls._work(one)) for one in claimed]
                    await wait_until(lambda: waiting_to_be_recorded(gateway) == _COUNT, what="what came of all polls")
                    ear.take()
                await asyncio.gather(*polling)
                commits += ear.take().commits
    assert fake.calls["model"] == _COUNT
    assert commits == COMMITS_OF_100_POLLS


class Receivers:
    """At many addresses of this machine; they would keep their connections open, and count them."""

    def __init__(self) -> None:
        self.connections = 0
        self.received = 0

    def connection(self) -> Connection:
        self.connections += 1
        return Connection(self._answer)

    def _answer(self, request: Request) -> Reply:
        self.received += request.method == "POST"
        return Reply(200)


@asynccontextmanager
async def receivers(hosts: Sequence[str]) -> AsyncIterator[tuple[Receivers, list[str]]]:
    """And the address of each."""
    counting, loop = Receivers(), asyncio.get_running_loop()
    servers = [await loop.create_server(counting.connection, host, 0) for host in hosts]
    addresses = [server.sockets[0].getsockname()[:2] for server in servers]
    try:
        yield counting, [f"http://{host}:{port}/hook" for host, port in addresses]
    finally:
        for server in servers:
            server.close()


async def deliver_events(gateway: Gateway, urls: Sequence[str], each: int) -> None:
    components, rng, now = gateway.components, random.Random(1), gateway.clock.now()
    for number, url in enumerate(urls):
        endpoint = await subscribe(components.database, components.keyring, url, name=f"{number}")
        for _ in range(each):
            await components.database.transaction(lambda unit, to=endpoint: becomes_ready(unit, to, now, rng))  # type: ignore[misc]
    assert await gateway.deliver() == len(urls) * each


@pytest.mark.parametrize(
    "hosts", [["127.0.0.1"], [f"127.0.0.{number}" for number in range(1, 101)]], ids=["one receiver", "100 origins"]
)
async def test_an_attempt_has_one_connection(gateway: Gateway, hosts: list[str]) -> None:
    async with receivers(hosts) as (counting, urls):
        await deliver_events(gateway, urls, _COUNT // len(urls))
        assert counting.received == _COUNT
        assert counting.connections == CONNECTIONS_OF_100_WEBHOOKS


async def test_polls_one_after_the_other_share_a_connection(world: World) -> None:
    async with photogpt() as (fake, url), quiet_gateway(world, url) as gateway:
        polls = gateway.components.loops.polls
        watch(world, _COUNT)
        for one in (await polls._claim(_COUNT)).items:
            await polls._work(one)
        assert fake.calls["model"] == _COUNT
        assert fake.connections == CONNECTIONS_OF_100_POLLS
