"""What watching costs PhotoGPT: 100 trainings of one key, by an integrator's loop, by single polls, and by sweeps."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.costs.bounds import CALLS_TO_WATCH_100_TRAININGS
from tests.support.gateway import KEY, Gateway, World

COUNT, STEP, STEPS = 100, 20.0, 100
_READ = "/models(/[^/]+)?"


@pytest.fixture
def figures(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a line whatever comes of the test."""

    def show(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return show


async def put_models(world: World) -> None:
    """Models that take 20 to 25 minutes each."""
    rng = random.Random(5)
    for number in range(COUNT):
        await world.upstream.put_model(f"model-{number}", duration_minutes=rng.uniform(20, 25))


async def reads(world: World) -> int:
    calls = await world.upstream.control("GET", "/calls", params={"path": _READ, "limit": 10_000})
    return len(calls["calls"])


async def by_a_loop(world: World) -> int:
    """As PhotoGPT's samples do it: trigger, then every 5 minutes GET /models/{id} until it is ready or deleted."""
    headers = {"authorization": f"Bearer {KEY}", "api-version": "1"}
    next_read: dict[str, float] = {}
    now = 0.0
    async with httpx.AsyncClient(base_url=world.upstream.base_url, headers=headers, trust_env=False) as photogpt:
        for number in range(COUNT):
            (await photogpt.get(f"models/model-{number}/train")).raise_for_status()
            next_read[f"model-{number}"] = 300.0
        while next_read and now < STEP * STEPS:
            world.clock.advance(STEP)
            now += STEP
            for model_id in [model_id for model_id, at in next_read.items() if at <= now]:
                status = (await photogpt.get(f"models/{model_id}")).json()["result"]["status"].lower()
                next_read[model_id] += 300.0
                if status in ("ready", "deleted"):
                    del next_read[model_id]
    assert not next_read
    return await reads(world)


async def by_the_gateway(world: World, *, sweep: bool) -> int:
    async with started(world, sweep=sweep) as gateway:
        for _ in range(STEPS):
            world.clock.advance(STEP)
            while await gateway.poll():
                pass
        answer = await gateway.http.get("/v1/trainings", params={"limit": 100, "status": "ready"})
        assert len(answer.json()["data"]) == COUNT
    return await reads(world)


@asynccontextmanager
async def started(world: World, *, sweep: bool) -> AsyncIterator[Gateway]:
    async with world.gateway(GATEWAY_SWEEP=sweep, GATEWAY_POLLS_PER_KEY=4) as gateway:
        for number in range(COUNT):
            await gateway.started(f"model-{number}")
        # The reading before each trigger, by which also key and model are checked, is no watching.
        assert await reads(world) == COUNT
        await world.upstream.control("DELETE", "/calls")
        yield gateway


async def test_a_sweep_spares_photogpt_most_of_what_a_loop_asks(world: World, figures: Callable[[str], None]) -> None:
    counts: Counter[str] = Counter()
    await put_models(world)
    counts["loop"] = await by_a_loop(world)
    for name, sweep in (("single polls", False), ("sweeps", True)):
        await world.upstream.control("DELETE", "/calls")
        await put_models(world)
        world.database.unlink()
        counts[name] = await by_the_gateway(world, sweep=sweep)
    figures(f"calls to watch {COUNT} trainings of one key: {dict(counts)}")
    assert counts["loop"] == 5 * COUNT
    assert counts["single polls"] <= counts["loop"]
    assert counts["sweeps"] <= CALLS_TO_WATCH_100_TRAININGS
