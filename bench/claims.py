"""What a claim of due trainings takes: those of the database in the environment, when all of them are due.

A process of its own, so that its CPU time is its own. It claims as the gateway does, by its own poller, and polls none.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from datetime import datetime, timedelta

from service.bootstrap import build
from service.clock import SystemClock
from service.environment import load_settings

# No more in all than are polled at once.
_CLAIMS, _ROWS = 20, 25
# Neither the first, which opens the file, nor the second, which prepares what both of them run, are like the others.
_WARM_UP = 2


class _Later(SystemClock):
    """A wall clock that is one poll interval ahead: every watched model is due."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


async def claim() -> dict[str, float]:
    settings = load_settings()
    components = build(settings, _Later(timedelta(seconds=2 * settings.poll_interval)), random.SystemRandom())
    took, used, claimed = [], [], 0
    try:
        for _ in range(_WARM_UP + _CLAIMS):
            began, cpu = time.perf_counter(), time.process_time()
            claimed = len((await components.trainings.poller.claim(_ROWS)).items)
            took.append(time.perf_counter() - began)
            used.append(time.process_time() - cpu)
    finally:
        await components.database.close()
    return {
        "claim ms": statistics.median(took[_WARM_UP:]) * 1000,
        "claim CPU ms": statistics.median(used[_WARM_UP:]) * 1000,
        "claimed": float(claimed),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(claim())))
