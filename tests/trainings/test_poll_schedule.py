"""POLL_SCHEDULE at work: when a watched model is really read, and what of it a restart or a fault changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.gateway import MODEL, NOW, Gateway, World

SCHEDULE = "600,1200,1260,1320"


async def seconds_of_polls(gateway: Gateway, until: float, *, step: float = 10) -> list[float]:
    """Look every ten seconds, as the tick does every second: when, after NOW, there was something to poll."""
    found = []
    while (passed := (gateway.clock.now() - NOW).total_seconds()) <= until:
        if await gateway.poll():
            found.append(passed)
        gateway.advance(step)
    return found


def next_poll(training: dict[str, Any], gateway: Gateway) -> float:
    """In seconds from now."""
    due = datetime.fromisoformat(training["next_poll_at"]) - gateway.clock.now()
    return due / timedelta(seconds=1)


async def trained(gateway: Gateway, **fault: Any) -> dict[str, Any]:
    await gateway.upstream.put_model(duration_minutes=600)
    if fault:
        await gateway.upstream.fault_trigger(**fault)
    training: dict[str, Any] = (await gateway.train()).json()
    await gateway.upstream.control("DELETE", "/calls")
    return training


async def test_a_model_is_polled_at_the_times_and_then_every_interval(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway)
        assert 600 <= next_poll(training, gateway) <= 630
        polls = await seconds_of_polls(gateway, 2400)
        nominal = [600, 1200, 1260, 1320, 1640, 1960, 2280]
        assert len(polls) == len(nominal)
        # Spread by 30 s at most, at a long gap, and by 6 s at one of 60; looked at every 10 s; drifting on.
        assert all(0 <= poll - at <= 90 for poll, at in zip(polls, nominal, strict=True)), polls
        assert len(await gateway.upstream.calls(f"/models/{MODEL}")) == len(polls)


async def test_the_preset_sees_the_end_within_90_seconds(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE="fine") as gateway:
        await gateway.upstream.put_model(duration_minutes=22)
        training = await gateway.started()
        await seconds_of_polls(gateway, 1600)
        end = await gateway.training(training["id"])
        assert end["status"] == "ready"
        assert 1320 <= (datetime.fromisoformat(end["finished_at"]) - NOW).total_seconds() <= 1420
        # One before the trigger.
        assert len(await gateway.upstream.calls(f"/models/{MODEL}")) == 1 + 4


async def test_a_restart_changes_nothing_of_it(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway)
    async with world.gateway(seed=2, POLL_SCHEDULE=SCHEDULE) as gateway:
        assert await gateway.training(training["id"]) == training


async def test_without_the_schedule_nothing_waits_longer_than_an_interval(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway)
    async with world.gateway(seed=2) as gateway:
        assert next_poll(await gateway.training(training["id"]), gateway) == 330
    async with world.gateway(seed=3, POLL_SCHEDULE=SCHEDULE) as gateway:
        gateway.advance(330)
        assert await gateway.poll() == 1
        assert 270 <= next_poll(await gateway.training(training["id"]), gateway) <= 300


async def test_an_unclear_trigger_is_read_by_the_interval_and_then_by_the_schedule(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway, kind="reset_after")
        assert next_poll(training, gateway) == 60
        await gateway.upstream.say("new")
        await gateway.next_poll(training["id"])
        assert 300 <= next_poll(await gateway.training(training["id"]), gateway) <= 330
        await gateway.upstream.say("training")
        await gateway.next_poll(training["id"])
        adopted = await gateway.training(training["id"])
        assert adopted["status"] == "training"
        passed = (gateway.clock.now() - NOW).total_seconds()
        assert 600 <= passed + next_poll(adopted, gateway) <= 630


@pytest.mark.parametrize("status", [404, 401])
async def test_what_counts_three_times_in_a_row_is_given_two_intervals(world: World, status: int) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway)
        while (gateway.clock.now() - NOW).total_seconds() < 1200:
            await gateway.next_poll(training["id"])
        await gateway.upstream.fault_reading("status", status=status, times=3)
        await gateway.next_poll(training["id"])
        first = gateway.clock.now()
        await gateway.next_poll(training["id"])
        await gateway.next_poll(training["id"])
        assert gateway.clock.now() - first >= timedelta(seconds=600)
        after = await gateway.training(training["id"])
        assert (after["status"], after["suspended"]) == (("deleted", False) if status == 404 else ("training", True))


async def test_a_clock_that_was_put_back_is_mended_to_the_longest_gap(world: World) -> None:
    async with world.gateway(POLL_SCHEDULE=SCHEDULE) as gateway:
        training = await trained(gateway)
        gateway.clock.jump(-86_400)
        await gateway.components.heartbeat.beat()
        assert 0 < next_poll(await gateway.training(training["id"]), gateway) <= 700
        gateway.advance(700)
        assert await gateway.poll() == 1
        assert 0 < next_poll(await gateway.training(training["id"]), gateway) <= 700
