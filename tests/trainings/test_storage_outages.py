"""The database is gone while something is under way at PhotoGPT or at a receiver: what came of it is not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.storage.tables import Attempt
from tests.support.gateway import MODEL, Gateway, World, drive
from tests.support.outage import find_database, lose_database
from tests.support.waiting import wait_until


@asynccontextmanager
async def under_way(gateway: Gateway, task: asyncio.Task[int]) -> AsyncIterator[None]:
    """Inside the block the other side holds its answer back; after it, the answer is here and waits to be stored."""
    await wait_until(lambda: gateway.upstream.clock.held, what="a call under way")
    yield
    gateway.upstream.clock.release()
    await wait_until(lambda: gateway.clock.sleeping, what="the wait for the database")
    assert not task.done()


async def test_what_a_poll_saw_is_stored_when_the_database_is_back(world: World, gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.upstream.say("ready")
    await gateway.upstream.control("DELETE", "/calls")
    await gateway.upstream.fault_reading("delay", seconds=1)
    gateway.advance(330)
    polling = asyncio.create_task(gateway.poll())
    async with under_way(gateway, polling):
        await lose_database(world, gateway)
    gateway.advance(1)
    await wait_until(lambda: gateway.clock.sleeping, what="another wait")
    await find_database(world)
    gateway.advance(1)
    assert await polling == 1
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    assert len(await gateway.upstream.calls()) == 1
    assert await gateway.deliver() == 1


async def test_what_came_of_an_attempt_is_stored_when_the_database_is_back(world: World, gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    await gateway.receiver.fault("delay", seconds=1)
    delivering = asyncio.create_task(drive(gateway.components.loops.deliveries))
    async with under_way(gateway, delivering):
        await lose_database(world, gateway)
    await find_database(world)
    gateway.advance(1)
    assert await delivering == 1
    gateway.advance(100_000)
    assert await gateway.deliver() == 0
    assert len(await gateway.receiver.received()) == 1
    [attempt] = await gateway.rows(Attempt)
    assert attempt.status_code == 204
    assert [delivery["status"] for delivery in await gateway.deliveries(training["id"])] == ["delivered"]


async def test_what_came_of_a_trigger_is_stored_when_the_database_is_back(world: World, gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("delay", seconds=1)
    async with gateway.held_train(callback_url=gateway.receiver.hook()) as request:
        await lose_database(world, gateway)
        gateway.upstream.clock.release()
        await wait_until(lambda: gateway.clock.sleeping, what="the wait for the database")
        await find_database(world)
        gateway.advance(1)
        answer = await request
    assert (answer.status_code, answer.json()["status"]) == (202, "training")
    assert await gateway.upstream.triggers() == {MODEL: 1}
    await gateway.upstream.say("ready")
    await gateway.next_poll(answer.json()["id"])
    assert await gateway.event_types(answer.json()["id"]) == ["training.started", "training.ready"]


async def test_a_poll_that_can_not_be_stored_within_its_lease_is_made_again(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
    await world.upstream.say("ready")
    await world.upstream.control("DELETE", "/calls")
    await world.upstream.fault_reading("delay", seconds=1)
    world.clock.advance(330)
    async with world.gateway(seed=2, loops=True) as gateway:
        await wait_until(lambda: world.upstream.clock.held, what="a poll under way")
        await lose_database(world, gateway)
        world.upstream.clock.release()
        polls = gateway.components.loops.polls
        await wait_until(lambda: gateway.clock.sleeping, what="the wait for the database")
        gateway.advance(61)
        await wait_until(lambda: polls.in_flight == 0, what="the end of the poll")
        await find_database(world)
        polls.wake()
        await wait_until(lambda: _is(gateway, training["id"], "ready"), what="the model to be ready")
    assert len(await world.upstream.calls()) == 2


async def _is(gateway: Gateway, training_id: str, status: str) -> bool:
    return bool((await gateway.training(training_id))["status"] == status)


async def test_nothing_is_polled_or_sent_that_could_not_be_stored(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started(callback_url=world.receiver.hook())
        await gateway.upstream.put_model("model-2")
        await gateway.started("model-2")
        await gateway.upstream.say("ready")
        await gateway.next_poll(training["id"])
    await world.upstream.control("DELETE", "/calls")
    async with world.gateway(seed=2) as gateway:
        await lose_database(world, gateway)
        world.clock.advance(3600)
        for loop in gateway.components.loops:
            loop._stopping = False
            loop.start()
            loop.wake()
            await wait_until(lambda loop=loop: loop.idle_for == 0, what="a look in vain")  # type: ignore[misc]
        await find_database(world)
        assert await world.upstream.calls() == []
        assert await world.receiver.received() == []
        for loop in gateway.components.loops:
            loop.wake()
        await wait_until(world.receiver.received, what="the webhook")
        await wait_until(world.upstream.calls, what="the poll")
