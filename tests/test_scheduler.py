"""The clock's hand: how often it ticks, and that a tick makes a loop look."""

from __future__ import annotations

import pytest

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


async def test_it_ticks_until_it_is_stopped() -> None:
    ticks = []
    ticker = Ticker(lambda: ticks.append(1), 0.05)
    ticker.start()
    try:
        await wait_until(lambda: len(ticks) >= 3, what="three ticks")
    finally:
        ticker.stop()
    await wait_until(lambda: not ticker._scheduler.running, what="the scheduler to end")


async def test_a_tick_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    ticks = []

    def tick() -> None:
        ticks.append(1)
        raise RuntimeError("this tick failed")

    ticker = Ticker(tick, 0.05)
    ticker.start()
    try:
        await wait_until(lambda: len(ticks) >= 2, what="the tick after it")
    finally:
        ticker.stop()
    assert "this tick failed" in caplog.text


def test_a_late_tick_is_made_up_for_once_and_never_dropped() -> None:
    [job] = Ticker(lambda: None, 1.0)._scheduler.get_jobs()
    assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)
