"""The clock's hand: the only user of APScheduler. It ticks; what is due lives in the database, per row.

One job that wakes the loops, not one job per model: at a thousand jobs due together APScheduler misses them all
(performance.md 5). A tick that comes late or is skipped loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service.settings import Settings

_LONGEST_TICK = 1.0
_SHORTEST_TICK = 0.05


def tick_seconds(settings: Settings) -> float:
    """A tenth of the poll interval, between 50 ms and 1 s: due rows wait no longer than that."""
    return min(_LONGEST_TICK, max(_SHORTEST_TICK, settings.poll_interval / 10))


class Ticker:
    """Calls `tick` every so many `seconds`; it must not wait."""

    def __init__(self, tick: Callable[[], None], seconds: float) -> None:
        self._call = tick
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._scheduler.add_job(
            self._tick,
            IntervalTrigger(seconds=seconds, timezone="UTC"),
            id="tick",
            misfire_grace_time=None,  # its default of 1 s drops a late tick silently (performance.md 5)
            coalesce=True,
            max_instances=1,
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.shutdown(wait=False)

    async def _tick(self) -> None:
        self._call()
