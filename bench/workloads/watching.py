"""Models that are watched since before the start: steady polling (`polls`), what they weigh (`memory`), and a start
after kill -9 (`restart`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.figures import Row, percentile
from bench.http_client import Call
from bench.targets import Target, Watched
from bench.workloads import ONE_BY_ONE, Sizes, when_ready
from bench.world import Service, World

_SETTLE = 1.0
_HEALTH_PAUSE = 0.05
# Enough for 200 ms of latency at 1,667 polls a second; no more than an interval's worth is ever due.
_IN_FLIGHT = 512
_RUN_BEFORE_KILL = 2.0
_FIRST_POLL_WITHIN = 20.0
_SAMPLE = 0.5
_WATCHING = {"untriggered": "training"}


async def polls(world: World, target: Target, sizes: Sizes) -> list[Row]:
    """`late`: how long models had been due when the service was ready, which it then catches up with."""
    return [await _polls(world, target, sizes, count) for count in sizes.watched]


async def memory(world: World, target: Target, sizes: Sizes) -> list[Row]:
    """At the interval that they have in production, so long after the start that many have been polled."""
    rows = []
    for count in sizes.watched:
        await world.reset(_WATCHING)
        place = world.place(poll_interval=sizes.poll_interval, settings={**ONE_BY_ONE, **sizes.settings})
        first_due = when_ready(count)
        async with world.running(target, place, Watched(count, first_due, sizes.poll_interval)) as service:
            await _sleep_until(first_due + _SETTLE)
            seen = []
            until = time.monotonic() + sizes.seconds
            while time.monotonic() < until:
                seen.append(service.tree.megabytes())
                await asyncio.sleep(_SAMPLE)
            polled = await world.readings()
        rows.append(
            Row(
                "memory", target.name, f"{count:,} watched", {"PSS MB": seen[-1], "most MB": max(seen), "polls": polled}
            )
        )
    return rows


async def restart(world: World, target: Target, sizes: Sizes) -> list[Row]:
    """With every model overdue, the worst that a restart can find."""
    rows = []
    for count in sizes.watched:
        place = world.place(poll_interval=sizes.poll_interval, settings={**ONE_BY_ONE, **sizes.settings})
        await world.reset(_WATCHING)
        async with world.running(target, place, Watched(count, time.time(), 0.0)) as service:
            await asyncio.sleep(_RUN_BEFORE_KILL)
            service.tree.kill()
            await world.reset(_WATCHING)
            asked_at = time.time()
            async with world.started(target, place) as again:
                ready_at = asked_at + again.ready_seconds
                first = await _first_reading(world) if count else None
        figures = {"ready s": again.ready_seconds}
        if first is not None:
            figures["first poll after ready s"] = max(0.0, first - ready_at)
        rows.append(Row("restart", target.name, f"{count:,} watched", figures))
    return rows


async def _polls(world: World, target: Target, sizes: Sizes, count: int) -> Row:
    async with steadily_polling(world, target, sizes, count) as (_, figures):
        pass
    slow = f", {sizes.latency * 1000:g} ms" if sizes.latency else ""
    return Row("polls", target.name, f"{count:,} every {sizes.poll_interval:g} s{slow}", figures)


@asynccontextmanager
async def steadily_polling(
    world: World, target: Target, sizes: Sizes, count: int
) -> AsyncIterator[tuple[Service, dict[str, float]]]:
    """A service that watches `count` models, and what polling them has cost; it goes on until the end."""
    await world.reset({**_WATCHING, "latency": sizes.latency})
    settings = {**ONE_BY_ONE, **sizes.settings}
    place = world.place(poll_interval=sizes.poll_interval, polls_in_flight=_IN_FLIGHT, settings=settings)
    first_due = when_ready(count)
    async with world.running(target, place, Watched(count, first_due, sizes.poll_interval)) as service:
        idle = service.tree.megabytes()
        late = max(0.0, time.time() - first_due)
        await _sleep_until(first_due + _SETTLE)
        cpu, readings, at = service.tree.cpu_seconds(), await world.readings(), time.perf_counter()
        delays = await _health(service, sizes.seconds)
        readings = await world.readings() - readings
        used, took = service.tree.cpu_seconds() - cpu, time.perf_counter() - at
        yield (
            service,
            {
                "polls/s": readings / took,
                "due/s": count / sizes.poll_interval,
                "polled/due": readings / took / (count / sizes.poll_interval),
                "polls/CPU s": readings / max(used, 0.01),
                "CPU us/poll": used / max(readings, 1) * 1e6,
                "cores": used / took,
                "late s": late,
                "health p99 ms": percentile(delays, 0.99) * 1000,
                "idle PSS MB": idle,
                "PSS MB": service.tree.megabytes(),
            },
        )


async def _health(service: Service, seconds: float) -> list[float]:
    """Ask for health all the time; how long each answer took."""
    delays = []
    until = time.perf_counter() + seconds
    while (asked := time.perf_counter()) < until:
        await service.client.send(Call("GET", service.target.ready_path))
        delays.append(time.perf_counter() - asked)
        await asyncio.sleep(_HEALTH_PAUSE)
    return delays


async def _first_reading(world: World) -> float | None:
    until = time.monotonic() + _FIRST_POLL_WITHIN
    while time.monotonic() < until:
        first: float | None = (await world.counts())["first_reading_at"]
        if first is not None:
            return first
        await asyncio.sleep(_HEALTH_PAUSE)
    return None


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
