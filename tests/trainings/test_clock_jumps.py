"""The wall clock is set forward or back under a running gateway: nothing ends, doubles or stands still by it."""

from __future__ import annotations

from typing import Any

import pytest

from service.storage.tables import Attempt
from tests.support.gateway import MODEL, Gateway, World
from tests.support.waiting import wait_until

DAY = 86_400.0


async def started(gateway: Gateway, **body: Any) -> dict[str, Any]:
    await gateway.upstream.put_model(duration_minutes=100_000)
    return await gateway.started(**body)


async def jump(gateway: Gateway, seconds: float) -> None:
    """As it is noticed: by the heartbeat that follows."""
    gateway.clock.jump(seconds)
    await gateway.components.heartbeat.beat()


# --- forward ---


async def test_a_jump_of_days_forward_expires_nothing_at_once(gateway: Gateway) -> None:
    training = await started(gateway)
    await jump(gateway, 30 * DAY)
    assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "training"
    await jump(gateway, -30 * DAY)
    for _ in range(4):
        gateway.advance(330)
        assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "training"
    # And the look of then does not count when the day has really passed.
    gateway.advance(DAY)
    assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "training"
    gateway.advance(1000)
    assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "expired"


async def test_a_jump_of_days_forward_makes_one_poll_of_each_model_and_no_more(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.upstream.put_model(f"model-{number}", duration_minutes=100_000)
        await gateway.started(f"model-{number}")
    await gateway.upstream.control("DELETE", "/calls")
    await jump(gateway, 7 * DAY)
    assert (await gateway.poll(), await gateway.poll()) == (5, 0)
    assert len(await gateway.upstream.calls()) == 5


async def test_a_poll_that_is_under_way_is_not_made_twice_by_a_jump(world: World) -> None:
    async with world.gateway() as gateway:
        await started(gateway)
    await world.upstream.say("ready")
    await world.upstream.control("DELETE", "/calls")
    await world.upstream.fault_reading("delay", seconds=1)
    world.clock.advance(330)
    async with world.gateway(seed=2, loops=True) as gateway:
        polls = gateway.components.loops.polls
        await wait_until(lambda: world.upstream.clock.held == 1, what="a poll under way")
        gateway.clock.jump(DAY)
        gateway.advance(1)
        polls.wake()
        # Its lease is over by the wall clock, and nobody here takes it over.
        await wait_until(lambda: polls.unclaimed_for == 0, what="another claim")
        assert polls.in_flight == 1
        world.upstream.clock.release()
        await wait_until(lambda: polls.in_flight == 0, what="the end of the poll")
        [training] = (await gateway.http.get("/v1/trainings")).json()["data"]
        assert training["status"] == "ready"
        assert len(await world.upstream.calls()) == 1


async def test_a_webhook_that_is_under_way_is_not_sent_twice_by_a_jump(world: World) -> None:
    async with world.gateway() as gateway:
        await started(gateway, callback_url=world.receiver.hook())
        await world.upstream.say("ready")
        gateway.advance(330)
        await gateway.poll()
    await world.receiver.fault("delay", seconds=1)
    async with world.gateway(seed=2, loops=True) as gateway:
        deliveries = gateway.components.loops.deliveries
        await wait_until(lambda: world.receiver.clock.held == 1, what="an attempt under way")
        gateway.clock.jump(DAY)
        gateway.advance(1)
        deliveries.wake()
        await wait_until(lambda: deliveries.unclaimed_for == 0, what="another claim")
        assert deliveries.in_flight == 1
        world.receiver.clock.release()
        await wait_until(lambda: deliveries.in_flight == 0, what="the end of the attempt")
        assert len(await world.receiver.received()) == 1
        assert await gateway.count(Attempt) == 1


# --- back ---


@pytest.mark.parametrize("back", [10, 100, 250, 400, 600, 700, DAY, 400 * DAY])
async def test_after_a_jump_back_a_model_is_polled_within_an_interval(gateway: Gateway, back: float) -> None:
    await started(gateway)
    gateway.advance(330)
    assert await gateway.poll() == 1
    await jump(gateway, -back)
    gateway.advance(330)
    assert await gateway.poll() == 1
    gateway.advance(330)
    assert await gateway.poll() == 1


async def test_after_a_restart_with_a_clock_that_was_put_back_a_model_is_polled_within_an_interval(
    world: World,
) -> None:
    async with world.gateway() as gateway:
        await started(gateway)
        gateway.advance(330)
        assert await gateway.poll() == 1
    world.clock.jump(-500)
    async with world.gateway(seed=2) as gateway:
        gateway.advance(330)
        assert await gateway.poll() == 1


async def test_after_a_jump_back_a_webhook_is_tried_again_at_its_step(gateway: Gateway) -> None:
    training = await started(gateway, callback_url=gateway.receiver.hook())
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    await gateway.receiver.fault("status", status=500, times=3)
    await gateway.deliver()
    gateway.advance(6)
    await gateway.deliver()
    # The third attempt is due in 5 to 6 minutes.
    await jump(gateway, -DAY)
    gateway.advance(361)
    assert await gateway.deliver() == 1
    # Without a jump the fourth is due in 30 to 36.
    gateway.advance(1799)
    assert await gateway.deliver() == 0
    gateway.advance(361)
    assert await gateway.deliver() == 1
    assert [delivery["status"] for delivery in await gateway.deliveries(training["id"])] == ["delivered"]


async def test_after_a_jump_back_a_key_does_not_wait_longer_than_photogpt_may_ask(gateway: Gateway) -> None:
    await started(gateway)
    gateway.advance(330)
    await gateway.upstream.fault_reading("status", status=429)
    assert await gateway.poll() == 1
    await jump(gateway, -365 * DAY)
    gateway.advance(3600)
    assert await gateway.poll() == 1


@pytest.mark.parametrize("back", [0.0, 4.9])
async def test_what_ntp_does_to_a_clock_mends_nothing(gateway: Gateway, back: float) -> None:
    training = await started(gateway)
    due = (await gateway.training(training["id"]))["next_poll_at"]
    await jump(gateway, -back)
    await jump(gateway, back)
    assert (await gateway.training(training["id"]))["next_poll_at"] == due


async def test_a_jump_back_and_forth_between_two_beats_is_none(gateway: Gateway) -> None:
    training = await started(gateway)
    due = (await gateway.training(training["id"]))["next_poll_at"]
    gateway.clock.jump(-DAY)
    await jump(gateway, DAY)
    assert (await gateway.training(training["id"]))["next_poll_at"] == due


async def test_a_training_is_confirmed_and_ends_once_whatever_the_clock_does(gateway: Gateway) -> None:
    training = await started(gateway, callback_url=gateway.receiver.hook())
    for seconds in (DAY, -2 * DAY, 10.0, -400 * DAY, 401 * DAY, -3600.0):
        await jump(gateway, seconds)
        gateway.advance(400)
        await gateway.poll()
        assert (await gateway.training(training["id"]))["status"] == "training"
    await gateway.upstream.say("ready")
    gateway.advance(1100)
    await gateway.poll()
    await gateway.deliver()
    types = await gateway.event_types(training["id"])
    assert [word for word in types if word != "training.overdue"] == ["training.started", "training.ready"]
    assert [receipt.type for receipt in await gateway.receiver.received()] == ["training.ready"]
    assert await gateway.upstream.triggers() == {MODEL: 1}


async def test_after_a_restart_with_a_clock_that_was_put_back_a_webhook_is_tried_again_at_its_step(
    world: World,
) -> None:
    async with world.gateway() as gateway:
        await gateway.receiver.fault("status", status=500)
        await started(gateway, callback_url=gateway.receiver.hook())
        await gateway.upstream.say("ready")
        gateway.advance(330)
        assert (await gateway.poll(), await gateway.deliver()) == (1, 1)
    world.clock.jump(-DAY)
    async with world.gateway(seed=2) as gateway:
        gateway.advance(61)  # its step, or a lease if that is longer
        assert await gateway.deliver() == 1
