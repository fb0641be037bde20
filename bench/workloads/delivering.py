"""Webhooks: deliveries alone (`deliveries`), how soon the first attempt begins (`latency`), and what hanging receivers
cost the others (`hanging`).

Deliveries alone are put into the gateway's own tables, and when an event was recorded and its first attempt began is
read from its records; what PhotoGPT and the receivers see (`ready to arrival`) is measured of others, too.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

from bench.figures import Row, curve, percentile
from bench.processes import python
from bench.rows import Due
from bench.targets import Place, Target, Watched
from bench.targets.gateway import Gateway, database_file
from bench.workloads import ONE_BY_ONE, Sizes, when_ready
from bench.world import World

_LOOK_AGAIN = 0.1
_QUIET_SECONDS = 25.0
_RAW_IN_FLIGHT = 64
# With all that they cost: a connection for each.
_CLOSING = {"close": True}
_READY_AT_ONCE = {"untriggered": "training", "ready_after_readings": 1}
_HANGING_SHARE = 10
_BEGUN = """SELECT events.id, events.created_at, min(attempts.started_at) FROM events
JOIN deliveries ON deliveries.event_id = events.id JOIN attempts ON attempts.delivery_id = deliveries.id GROUP BY 1"""


async def deliveries(world: World, target: Target, sizes: Sizes) -> list[Row]:
    """The gateway's, and those of a bare loop over aiohttp to the same receivers."""
    gateway = _gateway(target)
    hosts = world.hosts(sizes.hosts)
    await world.reset(receiver=_CLOSING)
    place = world.place(poll_interval=300, settings=sizes.settings)
    due = Due(sizes.count, hosts, when_ready(sizes.count))
    await gateway.prepare_deliveries(place, due)
    case = f"{sizes.hosts} origins"
    async with world.running(gateway, place) as service:
        await asyncio.sleep(max(0.0, due.first_due - 1 - time.time()))
        cpu = service.tree.cpu_seconds()
        await _received(world, sizes.count)
        used = service.tree.cpu_seconds() - cpu
    counts, receipts = await world.counts(), await world.receipts()
    took = receipts[-1][3] - receipts[0][3]
    figures = {
        "deliveries/s": len(receipts) / took,
        "deliveries/CPU s": len(receipts) / used,
        "lost": sizes.count - counts["subjects"],
        "doubled": counts["doubled"],
    }
    await world.reset(receiver=_CLOSING)
    raw = await _raw_posts([place.callback_url(f"raw-{number}", host) for number, host in _in_turn(hosts, sizes.count)])
    return [Row("deliveries", target.name, case, figures), Row("deliveries", "aiohttp", case, raw)]


async def latency(world: World, target: Target, sizes: Sizes) -> list[Row]:
    figures, curves = await _delays(world, target, sizes, hanging=[])
    return [Row("latency", target.name, f"{sizes.rate:g} events/s", figures, curves=curves)]


async def hanging(world: World, target: Target, sizes: Sizes) -> list[Row]:
    hosts = world.hosts(sizes.hosts)
    rows = []
    for case, some in (("none hanging", []), ("a tenth hanging", hosts[::_HANGING_SHARE])):
        figures, curves = await _delays(world, target, sizes, hanging=some)
        rows.append(Row("hanging", target.name, case, figures, curves=curves))
    return rows


async def _delays(
    world: World, target: Target, sizes: Sizes, *, hanging: Sequence[str]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Models become ready one after the other, at the rate asked for: of each webhook to a healthy receiver the time
    from its event to the begin of its first attempt, and to its arrival.
    """
    hosts = world.hosts(sizes.hosts)
    await world.reset(_READY_AT_ONCE, {"hanging": list(hanging)})
    spread = sizes.count / sizes.rate
    # Some know no other spread than their poll interval, after which all that is left of a watch is its webhook.
    interval = 60 if isinstance(target, Gateway) else spread
    place = world.place(poll_interval=interval, settings={**ONE_BY_ONE, **sizes.settings})
    watched = Watched(sizes.count, when_ready(sizes.count), spread, hosts)
    healthy = sum(host not in hanging for _, host in _in_turn(hosts, sizes.count))
    async with world.running(target, place, watched) as service:
        cpu = service.tree.cpu_seconds()
        await _received(world, healthy)
        used = service.tree.cpu_seconds() - cpu
        receipts, said_ready, counts = await world.receipts(), await world.said_ready(), await world.counts()
        records = await asyncio.to_thread(_begun, place) if isinstance(target, Gateway) else []
    first = {subject: (webhook_id, at) for webhook_id, subject, _, at in reversed(receipts)}
    waited = {"ready to arrival": [at - said_ready[subject] for subject, (_, at) in first.items()]}
    if records:
        arrived = dict(first.values())
        begun = [times for times in records if times[0] in arrived]
        waited["start"] = [started - created for _, created, started in begun]
        waited["arrival"] = [arrived[event_id] - created for event_id, created, _ in begun]
    figures = {
        f"{name} p{share * 100:g} ms": percentile(times, share) * 1000
        for name, times in waited.items()
        for share in (0.5, 0.95, 0.99)
    }
    figures |= {"events": len(first), "lost": healthy - len(first), "doubled": counts["doubled"], "CPU s": used}
    curves = {f"{name} ms": [time * 1000 for time in curve(times)] for name, times in waited.items()}
    return figures, curves


def _begun(place: Place) -> list[tuple[str, float, float]]:
    """Of each event: when it was recorded, and when its first attempt began."""
    with closing(sqlite3.connect(f"file:{database_file(place)}?mode=ro", uri=True)) as connection:
        found = connection.execute(_BEGUN).fetchall()
    return [(event_id, _seconds(created), _seconds(started)) for event_id, created, started in found]


def _seconds(stored: str) -> float:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC).timestamp()


async def _received(world: World, count: int) -> None:
    """Wait until so many came, or none comes any more."""
    received, last = -1, time.monotonic()
    while (now := time.monotonic()) < last + _QUIET_SECONDS:
        subjects = (await world.counts())["subjects"]
        if subjects >= count:
            return
        if subjects != received:
            received, last = subjects, now
        await asyncio.sleep(_LOOK_AGAIN)


async def _raw_posts(urls: Sequence[str]) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *python("-m", "bench.raw_posts", "--in-flight", str(_RAW_IN_FLIGHT)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate("\n".join(urls).encode())
    figures: dict[str, float] = json.loads(output)
    return figures


def _in_turn(hosts: Sequence[str], count: int) -> list[tuple[int, str]]:
    return [(number, hosts[number % len(hosts)]) for number in range(count)]


def _gateway(target: Target) -> Gateway:
    if not isinstance(target, Gateway):
        raise NotImplementedError(f"{target.name} has no deliveries that could be looked into.")
    return target
