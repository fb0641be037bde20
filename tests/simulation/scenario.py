"""One run: callers, ticks and trouble for half an hour of simulated time, then calm, in which everything must end."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain.errors import GatewayError
from service.trainings.request import CallbackRequest, OutcomeKind, TrainRequest
from tests.simulation.faults import Faults
from tests.simulation.judge import POLL_TIMES, Violation
from tests.simulation.logs import watched_logs
from tests.simulation.owner import Owner
from tests.simulation.virtual_time import START, VirtualTimeLoop
from tests.simulation.world import ProcessEndedError, World, hours

_TROUBLE_SECONDS = 900.0
# The longest pause (an hour), the last retries, and an expiry can follow each other; more than that is never.
_CALM_SECONDS = 6 * 3600.0
_KEYS = ("key-one", "key-two")


@dataclass(frozen=True)
class Report:
    """What a run that kept all promises went through."""

    seed: int
    trainings: int
    webhooks: int
    crashes: int
    sweeps: int


def simulate(seed: int, *, shown: bool = False) -> Report:
    """Run one seed, with the gateway's log if it is to be `shown`; raises Violation."""
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_run(seed, loop, shown=shown))


async def _run(seed: int, loop: VirtualTimeLoop, *, shown: bool) -> Report:
    rng = random.Random(seed)
    schedule = ",".join(str(at) for at in POLL_TIMES) if seed % 2 else ""
    world = World(rng, loop, Faults(rng), POLL_SCHEDULE=schedule)
    world.photogpt.room = rng.choice((None, None, 1, 2))
    world.own.add(_this_task())
    with watched_logs(world.judge, shown=shown):
        try:
            owners = [Owner(world, key) for key in _KEYS]
            await _trouble(world, owners)
            await _calm(world, owners)
            world.judge.final()
            _followed_all(world, owners)
        finally:
            world.close()
            await _end_everything(world)
    _raise_first(world)
    webhooks = len({receipt.webhook_id for receipt in world.receiver.receipts})
    return Report(
        seed,
        len(world.judge.rows("SELECT id FROM trainings")),
        webhooks,
        world.judge.excuses.crashes,
        world.judge.swept,
    )


def _followed_all(world: World, owners: list[Owner]) -> None:
    stored = [row[0] for row in world.judge.rows("SELECT id FROM events ORDER BY tenant_id, position")]
    if sorted(stored) != sorted(event for owner in owners for event in owner.followed):
        raise Violation("the readers have not seen each event once")


async def _trouble(world: World, owners: list[Owner]) -> None:
    """Callers come, and things break, until the time is over."""
    world.play(_ticks(world))
    await world.start()
    for number in range(world.rng.randint(2, 6)):
        world.play(_caller(world, number))
    for owner in owners:
        world.play(owner.play())
    world.play(_looks(world))
    while _now() < _TROUBLE_SECONDS:
        await asyncio.sleep(world.rng.uniform(1, 20))
        _raise_first(world)
        await _spell(world)
        if world.process is None:
            await asyncio.sleep(world.rng.uniform(0.1, 30))
            await world.start()


async def _spell(world: World) -> None:
    faults, rng = world.faults, world.rng
    if faults.strikes("crash"):
        world.crash()
    if faults.strikes("restart in order"):
        await world.stop_in_order()
    if faults.strikes("database outage"):
        world.play(_database_outage(world, rng.choice((3.0, 8.0, 100.0))))
    if faults.strikes("photogpt outage"):
        world.play(_photogpt_outage(world, rng.uniform(10, 900)))
    if faults.strikes("clock forward"):
        world.judge.excuses.forward_jumps += 1
        world.clock.put(hours(rng.choice((0.02, 0.5, 2))))
    if faults.strikes("clock back"):
        world.judge.excuses.back_jumps += 1
        world.clock.put(-hours(rng.choice((0.02, 0.5, 2))))


async def _database_outage(world: World, seconds: float) -> None:
    world.disk.outage = True
    await asyncio.sleep(seconds)
    world.disk.outage = False


async def _photogpt_outage(world: World, seconds: float) -> None:
    world.photogpt.outage = True
    await asyncio.sleep(seconds)
    world.photogpt.outage = False


async def _ticks(world: World) -> None:
    """The scheduler, and a bad one: ticks come at any distance."""
    while True:
        world.tick()
        ahead = _seconds_to_next_due(world)
        if world.faults.on:
            ahead = min(60.0, world.rng.choice((0.2, 5.0, 20.0, ahead, ahead, ahead)))
        await asyncio.sleep(ahead)


def _seconds_to_next_due(world: World) -> float:
    """Ticks at which nothing is due would take most of a run's real time."""
    [(due,)] = world.judge.rows(
        "SELECT min(due_at) FROM (SELECT min(due_at) AS due_at FROM trainings UNION SELECT min(due_at) FROM deliveries"
        " UNION SELECT min(queue_due_at) FROM tenants)"
    )
    if due is None:
        return 10.0
    ahead = datetime.fromisoformat(due).replace(tzinfo=START.tzinfo) - world.clock.now()
    return min(600.0, max(10.0, ahead.total_seconds()))


async def _caller(world: World, number: int) -> None:
    """Wants some trainings of one model, one after the other; asks again, with the same words, until it is answered."""
    rng = world.rng
    key, model_id = rng.choice(_KEYS), f"model-{number}"
    model = world.photogpt.model(key, model_id)
    model.before = rng.choice(("new", "new", "ready"))
    for turn in range(rng.choice((1, 1, 2))):
        await asyncio.sleep(rng.uniform(0, 300))
        request = _request(world, model_id, turn)
        while _now() < _TROUBLE_SECONDS:
            with suppress(ProcessEndedError, GatewayError):
                training = await _ask(world, key, request)
                if training is not None and world.faults.strikes("caller cancels"):
                    await world.cancel(key, training)
                break
            await asyncio.sleep(rng.uniform(1, 60))


async def _looks(world: World) -> None:
    """Somebody reads models through the proxy, or all of a key."""
    while _now() < _TROUBLE_SECONDS:
        await asyncio.sleep(world.rng.uniform(1, 30))
        models = sorted(world.photogpt.models)
        if models and world.faults.strikes("caller looks"):
            key, model_id = world.rng.choice(models)
            await world.look(key, world.rng.choice((model_id, model_id, None)))


def _request(world: World, model_id: str, turn: int) -> TrainRequest:
    rng = world.rng
    url = f"https://{rng.choice('abc')}.example/{model_id}"
    callback = CallbackRequest(url, "/callback_url") if rng.random() < 0.9 else None
    key = f"{model_id}/{turn}" if rng.random() < 0.5 else None
    return TrainRequest(model_id, callback, {}, key, queues=rng.random() < 0.4)


async def _ask(world: World, key: str, request: TrainRequest) -> str | None:
    """The id of an acknowledged training; None when it was refused."""
    outcome = await world.request(key, request)
    if outcome.kind not in (OutcomeKind.ACCEPTED, OutcomeKind.JOINED) or outcome.training is None:
        return None
    training_id: str = outcome.training["id"]
    world.judge.acknowledged.add(training_id)
    return training_id


async def _calm(world: World, owners: list[Owner]) -> None:
    """Nothing breaks any more: everything must end, and what is suspended once its caller shows the key again."""
    await asyncio.sleep(120)  # what began to go wrong may end
    world.faults.calm()
    world.disk.outage = world.photogpt.outage = False
    # What ends by the wall clock does so when that is where it was.
    until = _now() + _CALM_SECONDS + world.clock.behind
    while world.judge.unfinished() or not await _all_followed(world, owners):
        _raise_first(world)
        if _now() > until:
            raise Violation(f"still not ended after hours of calm: {world.judge.unfinished()}")
        if world.process is None:
            await world.start()
        await _show_keys(world)
        for owner in owners:
            with suppress(ProcessEndedError, GatewayError):
                await owner.mend()
        await asyncio.sleep(30)
    _raise_first(world)


async def _all_followed(world: World, owners: list[Owner]) -> bool:
    """Whether the readers have nothing new to read."""
    seen = sum(len(owner.followed) for owner in owners)
    for owner in owners:
        with suppress(ProcessEndedError, GatewayError):
            await owner.follow()
    return world.process is not None and seen == sum(len(owner.followed) for owner in owners)


async def _show_keys(world: World) -> None:
    for key in _KEYS:
        suspended = world.judge.rows("SELECT model_id FROM trainings WHERE suspended AND finished_at IS NULL")
        for (model_id,) in suspended:
            if (key, model_id) in world.photogpt.models:
                with suppress(ProcessEndedError, GatewayError):
                    await world.request(key, TrainRequest(model_id))


async def _end_everything(world: World) -> None:
    rest = asyncio.all_tasks() - {_this_task()}
    if world.process is not None:
        world.process.die()
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _raise_first(world: World) -> None:
    if world.broken:
        raise Violation(world.broken[0])


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _now() -> float:
    return asyncio.get_running_loop().time()
