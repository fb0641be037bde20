"""One slow, hanging, dead or overrun host delays nobody else, and gets no more than its share itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta

import pytest
from fastapi import FastAPI

from service.claimloop import Claimed
from service.domain.delivery import DeliveryStatus
from service.simulator.receiver import ReceiverOptions, create_receiver
from service.storage.tables import Delivery
from tests.support.gateway import Gateway, Receiver, Simulators, World
from tests.support.outage import busy_writer
from tests.support.server import serve
from tests.support.waiting import wait_until
from tests.webhooks.ready_events import becomes_ready, subscribe

NOBODY = "http://127.0.0.1:1/hook"
DAYS_5 = 5 * 86_400.0
THROTTLES = (429, 502, 503, 504)


@pytest.fixture(scope="module")
def second_app(simulators: Simulators) -> Iterator[tuple[FastAPI, str]]:
    app = create_receiver(ReceiverOptions(), simulators.clock)
    with serve(app) as url:
        yield app, url


@pytest.fixture
async def healthy(world: World, second_app: tuple[FastAPI, str]) -> AsyncIterator[Receiver]:
    """A receiver on another port, which is another host; `world.receiver` is the one that misbehaves."""
    receiver = Receiver(*second_app, world.receiver.clock)
    await receiver.control("DELETE", "/received")
    await receiver.forget_faults()
    yield receiver
    await receiver.close()


_names = iter(range(1_000_000))


async def queue(gateway: Gateway, url: str, count: int = 1) -> str:
    """So many deliveries to that URL, all due now; returns the id of their webhook endpoint."""
    components, rng = gateway.components, random.Random(next(_names))
    endpoint = await subscribe(components.database, components.keyring, url, name=str(next(_names)))
    for _ in range(count):
        await components.database.transaction(lambda unit: becomes_ready(unit, endpoint, gateway.clock.now(), rng))
    return endpoint.id


async def deliveries(gateway: Gateway, endpoint_id: str) -> Sequence[Delivery]:
    return [row for row in await gateway.rows(Delivery) if row.endpoint_id == endpoint_id]


async def statuses(gateway: Gateway, endpoint_id: str) -> Counter[str]:
    return Counter(row.status for row in await deliveries(gateway, endpoint_id))


async def nothing_more(gateway: Gateway) -> None:
    """Whatever is due, nothing of it may be claimed now."""
    assert (await gateway.components.webhooks.dispatcher.claim(256)).items == []


# --- a host that hangs ---


async def test_a_hanging_host_that_is_new_holds_four_slots_and_delays_nobody(world: World, healthy: Receiver) -> None:
    await world.receiver.fault("hang", seconds=60, times=None)
    async with world.gateway(loops=True) as gateway:
        await queue(gateway, world.receiver.hook(), 10)
        await wait_until(lambda: world.receiver.clock.held == 4, what="the host to hang")
        await queue(gateway, healthy.hook(), 10)
        await wait_until(lambda: _count(healthy, 10), what="the other host's webhooks")
        await nothing_more(gateway)
        await wait_until(lambda: gateway.components.loops.deliveries.in_flight == 4, what="the end of all others")
        assert world.receiver.clock.held == 4
        world.receiver.clock.release()


async def test_a_hanging_host_that_was_good_holds_eight_slots_and_delays_nobody(
    world: World, healthy: Receiver
) -> None:
    async with world.gateway(loops=True) as gateway:
        await queue(gateway, world.receiver.hook(), 8)
        await wait_until(lambda: _count(world.receiver, 8), what="the good times")
        await wait_until(lambda: gateway.components.loops.deliveries.in_flight == 0, what="their end")
        await world.receiver.fault("hang", seconds=60, times=None)
        await queue(gateway, world.receiver.hook(), 12)
        await wait_until(lambda: world.receiver.clock.held == 8, what="the host to hang")
        await queue(gateway, healthy.hook(), 10)
        await wait_until(lambda: _count(healthy, 10), what="the other host's webhooks")
        await nothing_more(gateway)
        await wait_until(lambda: gateway.components.loops.deliveries.in_flight == 8, what="the end of all others")
        assert world.receiver.clock.held == 8
        # None of these is an answer, so it is as a new host again, and then as a dead one.
        await world.receiver.forget_faults()
        world.receiver.clock.release()
        await wait_until(lambda: gateway.components.loops.deliveries.in_flight == 0, what="the end of all attempts")
        await nothing_more(gateway)


@pytest.mark.parametrize(("setting", "new", "proven"), [(1, 1, 1), (3, 3, 3), (6, 4, 6)])
async def test_the_share_of_a_host_is_a_setting(world: World, setting: int, new: int, proven: int) -> None:
    async with world.gateway(GATEWAY_DELIVERIES_PER_HOST=setting) as gateway:
        claim = gateway.components.webhooks.dispatcher.claim
        await queue(gateway, world.receiver.hook(), 40)
        first = (await claim(256)).items
        assert len(first) == new
        await nothing_more(gateway)
        await asyncio.gather(*(gateway.components.webhooks.dispatcher.deliver(due) for due in first))
        while len(await world.receiver.received()) < setting:
            [due] = (await claim(1)).items
            await gateway.components.webhooks.dispatcher.deliver(due)
        assert len((await claim(256)).items) == proven
        await nothing_more(gateway)


# --- a host that is dead ---


async def test_a_dead_host_gets_one_probe_in_30_seconds_and_what_waits_loses_no_attempt(
    world: World, healthy: Receiver
) -> None:
    async with world.gateway() as gateway:
        dead = await queue(gateway, NOBODY, 12)
        # Four fail at once, and four more before the fifth failure in a row is known.
        assert await gateway.deliver() == 8
        probes = 0
        for second in range(10, 610, 10):
            gateway.advance(10)
            made = await gateway.deliver()
            assert made == (1 if second % 30 == 0 else 0)
            probes += made
            if second % 100 == 0:
                await queue(gateway, healthy.hook())
                assert await gateway.deliver() == 1
        assert probes == 20
        rows = await deliveries(gateway, dead)
        assert {row.status for row in rows} == {DeliveryStatus.PENDING}
        assert sum(row.attempts_made for row in rows) == 8 + 20
        assert all(row.attempts_started == row.attempts_made for row in rows)


async def test_what_waited_for_a_dead_host_arrives_when_it_is_back(world: World) -> None:
    await world.receiver.fault("reset", times=None)
    async with world.gateway() as gateway:
        endpoint = await queue(gateway, world.receiver.hook(), 40)
        assert await gateway.deliver() == 8
        await world.receiver.forget_faults()
        gateway.advance(29.9)
        assert await gateway.deliver() == 0
        gateway.advance(0.1)
        # The probe, and all the others behind it: those that had failed are due by now, too.
        assert await gateway.deliver() == 40
        assert await statuses(gateway, endpoint) == {DeliveryStatus.DELIVERED: 40}
        rows = await deliveries(gateway, endpoint)
        assert Counter(row.attempts_started for row in rows) == {1: 32, 2: 8}


async def test_after_a_restart_a_dead_host_is_found_out_again(world: World) -> None:
    async with world.gateway() as gateway:
        endpoint = await queue(gateway, NOBODY, 12)
        assert await gateway.deliver() == 8
    async with world.gateway(seed=2) as gateway:
        assert await gateway.deliver() == 4
        world.clock.advance(6)
        assert await gateway.deliver() == 4
        assert await gateway.deliver() == 0
        assert await statuses(gateway, endpoint) == {DeliveryStatus.PENDING: 12}


# --- a host that asks for rest ---


@pytest.mark.parametrize("status", THROTTLES)
async def test_a_host_that_asks_for_rest_gets_it_and_the_others_go_on(
    world: World, healthy: Receiver, status: int
) -> None:
    await world.receiver.fault("status", status=status, headers={"Retry-After": "40"}, times=None)
    async with world.gateway() as gateway:
        endpoint = await queue(gateway, world.receiver.hook(), 6)
        await queue(gateway, healthy.hook(), 3)
        assert await gateway.deliver() == 4 + 3
        await world.receiver.forget_faults()
        for _ in range(3):
            gateway.advance(13)
            await queue(gateway, healthy.hook())
            assert await gateway.deliver() == 1
        gateway.advance(1)
        assert await gateway.deliver() == 6
        assert await statuses(gateway, endpoint) == {DeliveryStatus.DELIVERED: 6}
        assert len(await healthy.received()) == 6


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_host_that_only_fails_is_not_left_alone(world: World, status: int) -> None:
    await world.receiver.fault("status", status=status, headers={"Retry-After": "40"}, times=None)
    async with world.gateway() as gateway:
        await queue(gateway, world.receiver.hook(), 20)
        assert await gateway.deliver() == 20


# --- slots for first attempts ---


async def test_half_of_the_slots_are_kept_for_first_attempts(world: World, healthy: Receiver) -> None:
    by_another_name = world.receiver.hook().replace("127.0.0.1", "localhost")
    await world.receiver.fault("status", status=500, times=12)
    async with world.gateway() as gateway:
        await queue(gateway, world.receiver.hook(), 6)
        await queue(gateway, by_another_name, 6)
        assert await gateway.deliver() == 12
    world.clock.advance(6)
    await world.receiver.fault("hang", seconds=60, times=None)
    async with world.gateway(seed=2, loops=True, GATEWAY_DELIVERIES_IN_FLIGHT=8) as gateway:
        # Both hosts have room for eight; four retries are under way.
        await wait_until(lambda: world.receiver.clock.held == 4, what="the retries")
        await nothing_more(gateway)
        for _ in range(3):
            await queue(gateway, healthy.hook(), 6)
        await wait_until(lambda: _count(healthy, 18), what="the first attempts")
        assert world.receiver.clock.held == 4
        world.receiver.clock.release()


# --- no room is left unused ---


async def test_each_attempt_that_ends_lets_the_next_one_start_without_a_tick(world: World) -> None:
    async with world.gateway(loops=True, GATEWAY_DELIVERIES_PER_HOST=1) as gateway:
        await queue(gateway, world.receiver.hook(), 12)
        await wait_until(lambda: _count(world.receiver, 12), what="all, one after the other")


async def test_a_probe_that_is_answered_lets_the_others_start_without_a_tick(world: World) -> None:
    await world.receiver.fault("reset", times=None)
    async with world.gateway(loops=True) as gateway:
        loop = gateway.components.loops.deliveries
        await queue(gateway, world.receiver.hook(), 20)
        await wait_until(lambda: _has_failed(gateway, 5), what="the breaker to open")
        await wait_until(lambda: loop.in_flight == 0, what="the end of all attempts")
        await world.receiver.forget_faults()
        await world.receiver.fault("delay", seconds=1)
        gateway.advance(30)
        loop.wake()
        await wait_until(lambda: world.receiver.clock.held == 1, what="the probe")
        # Another host's attempt has come and gone: the loop has looked while the probe was under way.
        await queue(gateway, NOBODY)
        await wait_until(lambda: loop.in_flight == 1, what="the probe alone")
        world.receiver.clock.release()
        await wait_until(lambda: _count(world.receiver, 20), what="all that waited")


async def _under_way_in_one_commit(gateway: Gateway) -> Claimed[object]:
    """What a claim gives while the end of the only attempt waits for the same commit."""
    dispatcher, database = gateway.components.webhooks.dispatcher, gateway.components.database
    waiting = database._runner._jobs  # type: ignore[attr-defined]
    [due] = (await dispatcher.claim(1)).items
    attempt = asyncio.create_task(dispatcher.deliver(due))
    await wait_until(lambda: gateway.receiver.clock.held == 1, what="the attempt")
    async with busy_writer(database):
        gateway.receiver.clock.release()
        await wait_until(lambda: waiting.qsize() == 1, what="the end of the attempt")
        claim = asyncio.create_task(dispatcher.claim(10))
        await wait_until(lambda: waiting.qsize() == 2, what="the claim")
    await attempt
    claimed = await claim
    return Claimed(claimed.items, more=claimed.more)


async def test_an_attempt_that_ends_while_others_are_claimed_leaves_its_room_to_the_next_claim(world: World) -> None:
    async with world.gateway(GATEWAY_DELIVERIES_PER_HOST=1) as gateway:
        await queue(gateway, world.receiver.hook(), 2)
        await world.receiver.fault("delay", seconds=1)
        assert await _under_way_in_one_commit(gateway) == Claimed([], more=True)
        assert await gateway.deliver() == 1


async def test_a_probe_that_ends_while_others_are_claimed_leaves_its_room_to_the_next_claim(world: World) -> None:
    await world.receiver.fault("reset", times=None)
    async with world.gateway() as gateway:
        await queue(gateway, world.receiver.hook(), 20)
        assert await gateway.deliver() == 8
        await world.receiver.forget_faults()
        await world.receiver.fault("delay", seconds=1)
        gateway.advance(30)
        assert await _under_way_in_one_commit(gateway) == Claimed([], more=True)
        assert await gateway.deliver() == 19


async def test_a_retry_that_ends_while_others_are_claimed_leaves_its_slot_to_the_next_claim(world: World) -> None:
    await world.receiver.fault("status", status=500, times=2)
    async with world.gateway(GATEWAY_DELIVERIES_IN_FLIGHT=2) as gateway:
        await queue(gateway, world.receiver.hook(), 2)
        assert await gateway.deliver() == 2
        await world.receiver.fault("delay", seconds=1)
        gateway.advance(6)
        assert await _under_way_in_one_commit(gateway) == Claimed([], more=True)
        assert await gateway.deliver() == 1


# --- what waits too long ---


async def test_after_five_days_what_waits_for_a_dead_host_is_buried_and_nothing_else(world: World) -> None:
    async with world.gateway() as gateway:
        give_up = gateway.components.webhooks.dispatcher.give_up_waiting
        dead = await queue(gateway, NOBODY, 12)
        elsewhere = await queue(gateway, world.receiver.hook(), 3)
        await world.receiver.fault("status", status=500, times=None)
        assert await gateway.deliver() == 8 + 3
        gateway.advance(DAYS_5 - 1)
        assert await give_up() == 0
        # One that is asked for later than now does not wait, and one under way is not buried under its worker.
        [probe] = (await gateway.components.webhooks.dispatcher.claim(1)).items
        later = next(row.id for row in await deliveries(gateway, dead) if row.id != probe.id)
        await _put_off(gateway, later)
        gateway.advance(1)
        assert await give_up() == 10
        assert await give_up() == 0
        left = [row for row in await deliveries(gateway, dead) if row.status == DeliveryStatus.PENDING]
        assert {row.id for row in left} == {probe.id, later}
        buried = [row for row in await deliveries(gateway, dead) if row.status == DeliveryStatus.DEAD]
        assert {(row.due_at, row.finished_at) for row in buried} == {(None, gateway.clock.now())}
        assert await statuses(gateway, elsewhere) == {DeliveryStatus.PENDING: 3}


async def test_what_waits_for_a_host_whose_breaker_is_closed_is_not_buried(world: World) -> None:
    async with world.gateway() as gateway:
        endpoint = await queue(gateway, NOBODY, 12)
        assert await gateway.deliver() == 8
    world.clock.advance(2 * DAYS_5)
    async with world.gateway(seed=2) as gateway:
        assert await gateway.components.webhooks.dispatcher.give_up_waiting() == 0
        assert await statuses(gateway, endpoint) == {DeliveryStatus.PENDING: 12}


async def _put_off(gateway: Gateway, delivery_id: str) -> None:
    later = gateway.clock.now() + timedelta(hours=1)
    await gateway.components.database.transaction(
        lambda unit: setattr(unit.session.get(Delivery, delivery_id), "due_at", later)
    )


async def _count(receiver: Receiver, count: int) -> bool:
    return len(await receiver.received()) == count


async def _has_failed(gateway: Gateway, times: int) -> bool:
    return sum(row.attempts_made for row in await gateway.rows(Delivery)) >= times
