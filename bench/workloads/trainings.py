"""Train requests alone (`ingest`), trainings up to their webhook (`complete`), the calls that they cost (`calls`)."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Row, curve, percentile
from bench.load import train_for
from bench.targets import Target
from bench.workloads import Sizes
from bench.world import Service, World

# Ingest is measured without polls in between.
_NO_POLLS_YET = 300.0
_WARM_UP_SECONDS = 0.5
_LOOK_AGAIN = 0.25
_QUIET_INTERVALS = 8
_LONGEST_DRAIN = 300.0
# What takes PhotoGPT 25 minutes here takes a hundredth, and so does the poll interval.
_TRAINING_SECONDS, _INTERVAL = 15.0, 3.0


async def ingest(world: World, target: Target, sizes: Sizes) -> list[Row]:
    rows = []
    await world.reset()
    place = world.place(poll_interval=_NO_POLLS_YET, settings=sizes.settings)
    async with world.running(target, place) as service:
        hosts = world.hosts(sizes.hosts)
        await train_for(service, seconds=_WARM_UP_SECONDS, in_flight=4, hosts=hosts, name="warm")
        for in_flight in sizes.in_flight:
            began = service.tree.cpu_seconds()
            load = await train_for(
                service, seconds=sizes.seconds, in_flight=in_flight, hosts=hosts, name=f"ingest{in_flight}"
            )
            used = service.tree.cpu_seconds() - began
            figures = {
                "requests/s": load.rate,
                "requests/CPU s": len(load.latencies) / max(used, 0.01),
                "p50 ms": percentile(load.latencies, 0.5) * 1000,
                "p99 ms": percentile(load.latencies, 0.99) * 1000,
                "failed": load.failed,
                "PSS MB": service.tree.megabytes(),
            }
            curves = {"request ms": [latency * 1000 for latency in curve(load.latencies)]}
            rows.append(Row("ingest", target.name, f"{in_flight} in flight", figures, curves=curves))
    return rows


async def complete(world: World, target: Target, sizes: Sizes) -> list[Row]:
    await world.reset({"ready_after_readings": sizes.readings})
    place = world.place(poll_interval=sizes.poll_interval, settings=sizes.settings)
    in_flight = sizes.in_flight[-1]
    async with world.running(target, place) as service:
        idle = service.tree.megabytes()
        began = service.tree.cpu_seconds()
        load = await train_for(
            service, seconds=sizes.seconds, in_flight=in_flight, hosts=world.hosts(sizes.hosts), name="complete"
        )
        most = await _drained(world, service, len(load.latencies), sizes)
        used = service.tree.cpu_seconds() - began
        counts = await world.counts()
    done = counts["subjects"]
    took = (counts["last_at"] or 0) - (counts["first_trigger_at"] or 0)
    figures = {
        "completed/s": done / took if took > 0 else 0.0,
        "completed/CPU s": done / max(used, 0.01),
        "accepted/s": load.rate,
        "accept p99 ms": percentile(load.latencies, 0.99) * 1000,
        "completed": done,
        "lost": len(load.latencies) - done,
        "doubled": counts["doubled"],
        "triggered again": counts["triggered_again"],
        "failed": load.failed,
        "calls each": (counts["trainings"] + counts["readings"] + counts["lists"]) / max(done, 1),
        "idle PSS MB": idle,
        "peak PSS MB": most,
    }
    return [Row("complete", target.name, f"{in_flight} in flight", figures)]


async def calls(world: World, target: Target, sizes: Sizes) -> list[Row]:
    """100 trainings of one key, in a hundredth of their time."""
    await world.reset({"ready_after_seconds": _TRAINING_SECONDS})
    place = world.place(poll_interval=_INTERVAL, settings=sizes.settings)
    async with world.running(target, place) as service:
        await train_for(service, seconds=60, in_flight=4, hosts=world.hosts(1), name="calls", most=100)
        await _drained(world, service, 100, Sizes(poll_interval=_INTERVAL))
        counts = await world.counts()
    figures = {
        "trainings": counts["trainings"],
        "readings": counts["readings"],
        "lists": counts["lists"],
        "calls": counts["trainings"] + counts["readings"] + counts["lists"],
        "completed": counts["subjects"],
    }
    return [Row("calls", target.name, "100 trainings", figures)]


async def _drained(world: World, service: Service, wanted: int, sizes: Sizes) -> float:
    """Wait until all webhooks came, or neither they nor polls come any more: some poll all models before they deliver
    the first. Returns the most memory seen.
    """
    most, seen, began = service.tree.megabytes(), (-1, -1), time.monotonic()
    last = began
    while (now := time.monotonic()) < min(last + _QUIET_INTERVALS * sizes.poll_interval, began + _LONGEST_DRAIN):
        counts = await world.counts()
        most = max(most, service.tree.megabytes())
        if counts["subjects"] >= wanted:
            break
        if (progress := (counts["subjects"], counts["readings"])) != seen:
            seen, last = progress, now
        await asyncio.sleep(_LOOK_AGAIN)
    return most
