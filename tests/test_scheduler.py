"""The clock's hand: how often it ticks, and that a tick makes a loop look."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.claimloop import ClaimLoop
from service.clock import SystemClock
from service.scheduler import Ticker, tick_seconds
from tests.support.gateway import settings_of
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ("interval", "tick"),
    [
        (0.001, 0.05),
        (0.5, 0.05),
        (0.6, 0.06),
        (2, 0.2),
        (9.9, 0.99),
        (10, 1.0),
        (11, 1.0),
        (300, 1.0),
        (86_400, 1.0),
    ],
)
def test_a_tick_is_a_tenth_of_the_poll_interval_between_50_ms_and_1_s(interval: float, tick: float) -> None:
    assert tick_seconds(settings_of(GATEWAY_POLL_INTERVAL=interval)) == pytest.approx(tick)


class Looks:
    """A claim that finds nothing and counts how often it is asked."""

    def __init__(self) -> None:
        self.made = 0

    async def claim(self, limit: int) -> Sequence[object]:
        self.made += 1
        return []

    async def work(self, item: object) -> None:
        raise AssertionError("there is nothing to work")


async def test_each_tick_makes_each_loop_look_once() -> None:
    looks = [Looks(), Looks()]
    loops = [
        ClaimLoop[object](str(number), claim=look.claim, work=look.work, slots=4, clock=SystemClock())
        for number, look in enumerate(looks)
    ]
    for loop in loops:
        loop.start()
    ticker = Ticker(loops, 0.05)
    ticker.start()
    try:
        await wait_until(lambda: all(look.made >= 3 for look in looks), what="three ticks")
    finally:
        ticker.stop()
        for loop in loops:
            await loop.stop(1)
    assert abs(looks[0].made - looks[1].made) <= 1


async def test_a_ticker_can_be_stopped() -> None:
    look = Looks()
    loop = ClaimLoop[object]("only", claim=look.claim, work=look.work, slots=4, clock=SystemClock())
    loop.start()
    ticker = Ticker([loop], 0.05)
    ticker.start()
    await wait_until(lambda: look.made, what="a tick")
    ticker.stop()
    await wait_until(lambda: not ticker._scheduler.running, what="the scheduler to end")
    await loop.stop(1)


def test_a_late_tick_is_made_up_for_once_and_never_dropped() -> None:
    [job] = Ticker([], 1.0)._scheduler.get_jobs()
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)
