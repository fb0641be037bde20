"""`/livez` and `/readyz`: whether a restart would help, and whether requests are served, with the figures behind it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from service.app import create_health_app
from service.claimloop import Claimed
from service.storage.due_training import DueTraining
from service.storage.sweeps import DueSweep
from tests.support.gateway import Gateway, World, client
from tests.support.outage import find_database, full_disk, lose_database
from tests.support.waiting import wait_until

LOOPS = ["poller", "starter", "dispatcher", "recoveries", "pruner", "erasure", "calls", "census"]
IDLE = {"claimed_ago": 0.0, "in_flight": 0, "oldest_due_waits": 0.0, "restarts": 0}


async def ready(gateway: Gateway) -> tuple[int, str]:
    answer = await gateway.http.get("/readyz")
    return answer.status_code, answer.json()["status"]


async def loop_figures(gateway: Gateway, name: str) -> dict[str, Any]:
    figures: dict[str, Any] = (await gateway.http.get("/readyz")).json()["loops"][name]
    return figures


async def tick(gateway: Gateway, seconds: float = 0) -> None:
    """A tick after so many seconds, and what comes of it."""
    gateway.advance(seconds)
    components = gateway.components
    looks = [loop.last_pass for loop in components.loops]
    components.lifecycle.tick()
    await components.heartbeat.stop()
    if seconds:
        await wait_until(
            lambda: all(loop.last_pass != look for loop, look in zip(components.loops, looks, strict=True)),
            what="another look of each loop",
        )


async def test_a_gateway_whose_loops_run_is_alive_and_ready(world: World) -> None:
    async with world.gateway(loops=True) as gateway:
        await tick(gateway)
        loops = tuple(gateway.components.loops)
        await wait_until(
            lambda: all(loop.last_pass is not None and not loop.in_flight for loop in loops),
            what="the first pass of every loop",
        )
        for http in (gateway.http, client(create_health_app(gateway.components), key=None)):
            live, readiness = await http.get("/livez"), await http.get("/readyz")
            assert (live.status_code, live.json()) == (200, {"status": "alive", "stalled": []})
            assert (readiness.status_code, readiness.json()) == (
                200,
                {
                    "status": "ready",
                    "storage": {"written_ago": 0.0},
                    "scheduler": {"ticked_ago": 0.0},
                    "loops": dict.fromkeys(LOOPS, IDLE),
                },
            )
            await http.aclose()


async def test_probes_need_no_credential_and_cost_neither_a_call_nor_a_write(gateway: Gateway) -> None:
    gateway.http.headers.pop("authorization")
    gateway.advance(2)
    written = await gateway.components.database.run(_changes)
    for _ in range(20):
        assert (await gateway.http.get("/livez")).status_code == 200
        assert await ready(gateway) == (200, "ready")
    assert await gateway.components.database.run(_changes) == written
    assert await gateway.upstream.calls() == []
    assert await gateway.receiver.received() == []


def _changes(connection: Any) -> int:
    """How many rows the one writing connection has ever changed."""
    return int(connection.exec_driver_sql("SELECT total_changes()").scalar())


async def test_probes_are_answered_while_photogpt_is_down(world: World) -> None:
    async with world.gateway(PHOTOGPT_BASE_URL="http://127.0.0.1:1/api") as gateway:
        assert (await gateway.train()).status_code == 503
        assert await ready(gateway) == (200, "ready")


def have_looked(gateway: Gateway) -> bool:
    """Each loop has, and nothing that ends will wake it again."""
    loops = gateway.components.loops
    return all(loop.last_pass is not None and not loop.in_flight and not loop._wanted.is_set() for loop in loops)


async def test_a_loop_that_stopped_looking_is_told_by_livez(world: World) -> None:
    async with world.gateway(loops=True) as gateway:
        await wait_until(partial(have_looked, gateway), what="a pass of each loop")
        gateway.advance(61)
        answer = await gateway.http.get("/livez")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "stalled",
            "stalled": LOOPS,
        }
        await gateway.components.heartbeat.beat()
        assert await ready(gateway) == (503, "stalled")
        gateway.components.loops.polls.wake()
        await wait_until(lambda: gateway.components.loops.polls.idle_for == 0, what="another pass of the poller")
        assert (await gateway.http.get("/livez")).json() == {
            "status": "stalled",
            "stalled": LOOPS[1:],
        }


async def test_a_scheduler_that_died_is_told_by_livez(gateway: Gateway) -> None:
    gateway.components.lifecycle.tick()
    await gateway.components.heartbeat.stop()
    gateway.advance(60)
    assert (await gateway.http.get("/livez")).status_code == 200
    gateway.advance(1)
    answer = await gateway.http.get("/livez")
    assert (answer.status_code, answer.json()["status"]) == (503, "stalled")
    assert "scheduler" in answer.json()["stalled"]
    await gateway.components.heartbeat.beat()
    assert await ready(gateway) == (503, "stalled")
    assert (await gateway.http.get("/readyz")).json()["scheduler"] == {"ticked_ago": 61.0}
    gateway.components.lifecycle.tick()
    assert "scheduler" not in (await gateway.http.get("/livez")).json()["stalled"]


@pytest.mark.parametrize("name", ["poller", "dispatcher"])
async def test_a_loop_that_died_is_started_again_by_the_next_tick(world: World, name: str) -> None:
    await world.upstream.put_model()
    async with world.gateway(loops=True) as gateway:
        [loop] = [loop for loop in gateway.components.loops if loop.name == name]
        await wait_until(lambda: loop.last_pass is not None, what="its first look")
        assert loop._runner is not None
        loop._runner.cancel()
        await asyncio.wait([loop._runner])
        await gateway.started(callback_url=gateway.receiver.hook())
        await gateway.upstream.say("ready")
        await tick(gateway, 330)
        assert (await loop_figures(gateway, name))["restarts"] == 1
        # Dead or not before, it does its work now; its neighbour never noticed.
        await wait_until(gateway.receiver.received, what="the webhook")
        assert {figures.restarts for figures in gateway.components.loops if figures.name != name} == {0}


def look(gateway: Gateway) -> None:
    """As if each loop had looked for due rows just now."""
    for loop in gateway.components.loops:
        loop.last_pass = gateway.clock.monotonic()


async def test_rows_that_wait_while_nothing_is_claimed_are_told(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(loops=True) as gateway:
        await gateway.started()
        polls, over = gateway.components.loops.polls, asyncio.Event()

        async def hangs(_limit: int) -> Claimed[DueTraining | DueSweep]:
            await over.wait()
            return Claimed([], more=False)

        polls._claim = hangs
        polls.wake()
        gateway.advance(350)
        # Not yet a minute overdue.
        await gateway.components.heartbeat.beat()
        look(gateway)
        assert await ready(gateway) == (200, "ready")
        gateway.advance(59)
        await gateway.components.heartbeat.beat()
        look(gateway)
        assert await ready(gateway) == (503, "behind")
        figures = await loop_figures(gateway, "poller")
        assert figures["oldest_due_waits"] > 60
        assert figures["claimed_ago"] > 60
        over.set()


async def test_rows_that_wait_while_others_are_claimed_are_no_reason_to_go(gateway: Gateway) -> None:
    """As after a restart with very many overdue: it works them off, and whoever is sent away helps nobody."""
    await gateway.upstream.put_model()
    await gateway.started()
    gateway.advance(3600)
    await gateway.components.heartbeat.beat()
    for loop in gateway.components.loops:
        loop._last_claim = gateway.clock.monotonic()
    assert await ready(gateway) == (200, "ready")
    assert (await loop_figures(gateway, "poller"))["oldest_due_waits"] > 3000


async def test_a_draining_gateway_is_alive_and_not_ready(gateway: Gateway) -> None:
    gateway.components.lifecycle.drain()
    assert await ready(gateway) == (503, "draining")
    gateway.advance(1000)
    assert await ready(gateway) == (503, "draining")
    assert (await gateway.http.get("/livez")).status_code == 200
    refused = await gateway.train()
    assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
    assert "retry-after" in refused.headers
    assert await gateway.upstream.calls() == []


async def test_without_its_database_a_gateway_is_alive_and_not_ready_until_it_is_back(
    world: World, gateway: Gateway
) -> None:
    await lose_database(world, gateway)
    gateway.advance(2)
    await tick(gateway)
    assert await ready(gateway) == (503, "storage_unavailable")
    assert (await gateway.http.get("/livez")).status_code == 200
    await find_database(world)
    gateway.advance(2)
    await tick(gateway)
    assert await ready(gateway) == (200, "ready")


async def test_with_a_full_disk_a_gateway_is_alive_and_not_ready_and_triggers_nothing(
    world: World, gateway: Gateway
) -> None:
    await gateway.upstream.put_model()
    async with full_disk(gateway.components.database, world.database):
        gateway.advance(2)
        await tick(gateway)
        assert await ready(gateway) == (503, "storage_unavailable")
        assert (await gateway.http.get("/livez")).status_code == 200
        refused = await gateway.train()
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert await gateway.upstream.trigger_calls() == 0
    gateway.advance(2)
    await tick(gateway)
    assert await ready(gateway) == (200, "ready")
    assert (await gateway.train()).status_code == 202


async def test_a_heart_that_stopped_is_not_ready(gateway: Gateway) -> None:
    """Whatever the last beat found: it is old."""
    gateway.advance(11)
    assert await ready(gateway) == (503, "storage_unavailable")
    await tick(gateway)
    assert await ready(gateway) == (200, "ready")


async def test_the_health_port_tells_metrics_and_the_api_does_not(gateway: Gateway) -> None:
    await gateway.started()
    told = await client(create_health_app(gateway.components), key=None).get("/metrics")
    assert told.status_code == 200
    assert told.headers["content-type"].startswith("text/plain; version=")
    assert 'photogpt_webhooks_upstream_calls_total{kind="trigger"} 1.0' in told.text.splitlines()
    assert (await gateway.http.get("/metrics")).status_code == 404
