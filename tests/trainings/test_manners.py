"""How PhotoGPT is spared: a key that is told to wait waits alone, and no key and no second has too many polls."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

from service.claimloop import Claimed
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World
from tests.support.outage import busy_writer
from tests.support.waiting import wait_until


async def start(gateway: Gateway, *model_ids: str, key: str = KEY) -> list[dict[str, Any]]:
    """Trainings of models that take very long."""
    trainings = []
    for model_id in model_ids:
        await gateway.upstream.put_model(model_id, key=key, duration_minutes=100_000)
        answer = await gateway.train(model_id, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 202
        trainings.append(answer.json())
    return trainings


async def polls(gateway: Gateway) -> Counter[str]:
    """The keys of all polls since the last time this was asked."""
    calls = await gateway.upstream.calls("/models/[^/]+")
    await gateway.upstream.control("DELETE", "/calls")
    return Counter(call["key"] for call in calls)


# --- 429 ---


async def throttled(gateway: Gateway, retry_after: str | None) -> None:
    """Of one key's two trainings one has just been told to wait; the other, and one of another key, are not due."""
    await start(gateway, "model-1")
    gateway.advance(100)
    await start(gateway, "model-2")
    await start(gateway, "model-3", key=OTHER_KEY)
    gateway.advance(230)
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    await gateway.upstream.fault_reading("status", "model-1", status=429, headers=headers)
    await polls(gateway)
    assert await gateway.poll() == 1
    assert await polls(gateway) == {KEY: 1}


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        (None, 300),
        ("soon", 300),
        ("0", 300),
        ("10", 300),
        ("1000", 1000),
        ("Sun, 22 Nov 2026 12:22:10 GMT", 1000),
        ("3600", 3600),
        ("99999", 3600),
    ],
)
async def test_429_makes_one_key_wait_and_no_other(gateway: Gateway, retry_after: str | None, pause: float) -> None:
    await throttled(gateway, retry_after)
    for _ in range(int(pause) // 10 - 1):
        gateway.advance(10)
        await gateway.poll()
    seen = await polls(gateway)
    assert seen[KEY] == 0
    assert seen[OTHER_KEY] >= 1
    gateway.advance(10)
    await gateway.poll()
    assert (await polls(gateway))[KEY] == 2


async def test_a_key_waits_on_over_a_restart(world: World) -> None:
    async with world.gateway() as gateway:
        await throttled(gateway, "3000")
    async with world.gateway(seed=2) as gateway:
        for _ in range(9):
            gateway.advance(330)
            await gateway.poll()
        seen = await polls(gateway)
        assert seen[KEY] == 0
        assert seen[OTHER_KEY] >= 8
        gateway.advance(31)
        assert await gateway.poll() >= 2
        assert (await polls(gateway))[KEY] == 2


async def test_a_training_that_begins_while_its_key_waits_is_triggered_and_polled_later(gateway: Gateway) -> None:
    await throttled(gateway, "1000")
    await start(gateway, "model-4")
    await polls(gateway)
    gateway.advance(999)
    await gateway.poll()
    assert (await polls(gateway))[KEY] == 0
    gateway.advance(1)
    await gateway.poll()
    assert (await polls(gateway))[KEY] == 3


async def test_of_polls_that_are_told_to_wait_at_once_the_longest_wait_counts(gateway: Gateway) -> None:
    await start(gateway, "model-1", "model-2", "model-3")
    gateway.advance(330)
    for model_id, headers in {"model-1": {}, "model-2": {"Retry-After": "1000"}, "model-3": {}}.items():
        await gateway.upstream.fault_reading("status", model_id, status=429, headers=headers)
    assert await gateway.poll() == 3
    await polls(gateway)
    gateway.advance(999)
    assert await gateway.poll() == 0
    gateway.advance(1)
    assert await gateway.poll() == 3


async def test_a_key_that_waits_says_nothing_of_its_models_or_of_photogpt(gateway: Gateway) -> None:
    """Not once a training changes, and not once anybody else is polled less, however often it is said."""
    trainings = await start(gateway, *(f"model-{number}" for number in range(6)))
    await start(gateway, "model-of-another", key=OTHER_KEY)
    await gateway.upstream.fault("status", path=r"/models/model-\d", status=429, times=None)
    for _ in range(4):
        gateway.advance(330)
        await gateway.poll()
    assert (await polls(gateway))[OTHER_KEY] == 1 + 4  # and the reading before its trigger
    for training in trainings:
        now = await gateway.training(training["id"])
        assert (now["status"], now["suspended"]) == ("training", False)


# --- shares ---


async def test_one_key_has_no_more_polls_under_way_than_its_share(world: World) -> None:
    async with world.gateway(GATEWAY_POLLS_PER_KEY=2) as gateway:
        await start(gateway, *(f"model-{number}" for number in range(5)))
        await start(gateway, "model-of-another", key=OTHER_KEY)
    world.clock.advance(330)
    await world.upstream.control("DELETE", "/calls")
    await world.upstream.fault("delay", path="/models/[^/]+", seconds=1, times=None)
    async with world.gateway(seed=2, loops=True, GATEWAY_POLLS_PER_KEY=2) as gateway:

        async def under_way(count: int, so_far: dict[str, int]) -> bool:
            calls = Counter(call["key"] for call in await gateway.upstream.calls())
            return gateway.upstream.clock.held == count and calls == so_far

        # Each time that polls end, others follow by themselves: nothing here ticks.
        for count, so_far in [(3, {KEY: 2, OTHER_KEY: 1}), (2, {KEY: 4, OTHER_KEY: 1}), (1, {KEY: 5, OTHER_KEY: 1})]:
            await wait_until(partial(under_way, count, so_far), what=f"{count} polls under way")
            gateway.upstream.clock.release()
        await wait_until(lambda: gateway.components.loops.polls.in_flight == 0, what="the end of all polls")
        assert len(await gateway.upstream.calls()) == 6


async def test_a_poll_that_ends_while_others_are_claimed_leaves_its_room_to_the_next_claim(world: World) -> None:
    async with world.gateway(GATEWAY_POLLS_PER_KEY=1) as gateway:
        await start(gateway, "model-1", "model-2")
        gateway.advance(330)
        poller, database = gateway.components.trainings.poller, gateway.components.database
        queue = database._runner._jobs  # type: ignore[attr-defined]
        [due] = (await poller.claim(10)).items
        await gateway.upstream.fault("delay", path="/models/[^/]+", seconds=1)
        poll = asyncio.create_task(poller.poll(due))
        await wait_until(lambda: gateway.upstream.clock.held == 1, what="the poll")
        async with busy_writer(database):
            # Both wait for one commit: the end of the poll, and a claim that finds its key's room still taken.
            gateway.upstream.clock.release()
            await wait_until(lambda: queue.qsize() == 1, what="the end of the poll")
            claim = asyncio.create_task(poller.claim(10))
            await wait_until(lambda: queue.qsize() == 2, what="the claim")
        await poll
        assert await claim == Claimed([], more=True)


async def test_no_more_polls_start_in_a_second_than_may(world: World) -> None:
    async with world.gateway() as gateway:
        await start(gateway, *(f"model-{number}" for number in range(7)))
    world.clock.advance(330)
    await world.upstream.control("DELETE", "/calls")
    async with world.gateway(seed=2, loops=True, GATEWAY_POLLS_PER_SECOND=20) as gateway:

        async def so_many(count: int) -> bool:
            """And the poller waits for the next tokens, so that there will be no more."""
            waiting = gateway.clock.sleeping == 1 and gateway.components.loops.polls.in_flight == 0
            return waiting and len(await gateway.upstream.calls()) == count

        # The bucket holds a tenth of a second's worth.
        for count in (2, 4, 6):
            await wait_until(partial(so_many, count), what=f"{count} polls, and a wait")
            gateway.advance(0.1)
        await wait_until(lambda: gateway.components.loops.polls.unclaimed_for == 0, what="the last claim")
        await wait_until(lambda: gateway.components.loops.polls.in_flight == 0, what="the end of all polls")
        assert len(await gateway.upstream.calls()) == 7
