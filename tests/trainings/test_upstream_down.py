"""While nobody at PhotoGPT answers only a probe goes out now and then; what is due is looked at all the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.gateway import Gateway, World

COUNT = 8
# What only somebody says who is not PhotoGPT, or PhotoGPT when it can't.
OUTAGES: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "html"},
    {"kind": "html", "status": 404},
    {"kind": "cdn_block"},
    {"kind": "garbage"},
    {"kind": "redirect", "location": "/api/ping"},
]
# What PhotoGPT itself says of one model or key.
ANSWERS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 429},
    {"kind": "json", "body": {"status": "NOK", "message": "No."}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": "model-99", "status": "ready"}}},
    {"kind": "json", "body": {"status": "OK", "result": {"status": "never heard of"}}},
]


@pytest.fixture
async def many(gateway: Gateway) -> Gateway:
    """A gateway with trainings that take very long, all due at the same times."""
    for number in range(COUNT):
        await gateway.upstream.put_model(f"model-{number}", duration_minutes=100_000)
        await gateway.started(f"model-{number}")
    return gateway


async def goes_down(gateway: Gateway, **fault: Any) -> None:
    order = fault or {"kind": "status", "status": 500}
    await gateway.upstream.fault(path=r"/models/model-\d+", times=None, **order)


async def looked_at(gateway: Gateway) -> int:
    """Let everything be due once; how many calls that took."""
    await gateway.upstream.control("DELETE", "/calls")
    gateway.advance(330)
    assert await gateway.poll() == COUNT
    return len(await gateway.upstream.calls())


async def shown(gateway: Gateway) -> list[dict[str, Any]]:
    answer = await gateway.http.get("/v1/trainings", params={"limit": COUNT})
    trainings: list[dict[str, Any]] = answer.json()["data"]
    assert len(trainings) == COUNT
    return trainings


@pytest.mark.parametrize("fault", OUTAGES, ids=str)
async def test_once_nobody_answers_only_a_probe_goes_out(many: Gateway, fault: dict[str, Any]) -> None:
    await goes_down(many, **fault)
    assert await looked_at(many) == COUNT, "all of them were under way when it broke"
    for _ in range(3):
        assert await looked_at(many) == 1


@pytest.mark.parametrize("fault", ANSWERS, ids=str)
async def test_what_photogpt_itself_says_is_no_outage(many: Gateway, fault: dict[str, Any]) -> None:
    await goes_down(many, **fault)
    for _ in range(2):
        assert await looked_at(many) == COUNT


async def test_fewer_than_five_in_a_row_are_none_either(many: Gateway) -> None:
    for number in range(4):
        await many.upstream.fault_reading("reset", f"model-{number}")
    assert await looked_at(many) == COUNT
    assert await looked_at(many) == COUNT


async def test_the_first_answer_ends_it(many: Gateway) -> None:
    await goes_down(many)
    assert [await looked_at(many), await looked_at(many)] == [COUNT, 1]
    await many.upstream.forget_faults()
    assert await looked_at(many) == 1, "the probe that was answered"
    assert await looked_at(many) == COUNT


async def test_it_begins_anew_after_a_restart(world: World, many: Gateway) -> None:
    await goes_down(many)
    assert [await looked_at(many), await looked_at(many)] == [COUNT, 1]
    await many.upstream.forget_faults()
    async with world.gateway(seed=2) as restarted:
        assert await looked_at(restarted) == COUNT


async def test_a_probe_goes_out_once_in_30_seconds_at_most(gateway: Gateway) -> None:
    """Whatever is due meanwhile."""
    for number in range(30):
        await gateway.upstream.put_model(f"model-{number}", duration_minutes=100_000)
        await gateway.started(f"model-{number}")
        gateway.advance(10)
    await goes_down(gateway)
    gateway.advance(100)
    assert await gateway.poll() >= 5
    await gateway.upstream.control("DELETE", "/calls")
    looks = 0
    for _ in range(60):
        gateway.advance(10)
        looks += await gateway.poll()
    calls = await gateway.upstream.calls()
    assert looks > 40
    assert 10 <= len(calls) <= 600 / 30
    times = [datetime.fromisoformat(call["at"]) for call in calls]
    assert min(later - earlier for earlier, later in pairwise(times)) >= timedelta(seconds=30)


async def test_what_was_not_read_was_not_polled(many: Gateway) -> None:
    await goes_down(many)
    await looked_at(many)
    before = {training["last_polled_at"] for training in await shown(many)}
    await looked_at(many)
    after = [training["last_polled_at"] for training in await shown(many)]
    assert len(before) == 1
    assert sorted(after)[:-1] == [*before] * (COUNT - 1)
    assert max(after) > max(before)


async def test_trainings_grow_overdue_and_expire_without_being_read(many: Gateway) -> None:
    await goes_down(many)
    await looked_at(many)
    many.advance(2100)
    assert await looked_at(many) == 1
    assert {training["overdue"] for training in await shown(many)} == {True}
    many.advance(86_400)
    assert await looked_at(many) == 1
    assert {training["status"] for training in await shown(many)} == {"training"}
    many.advance(1000)
    assert await looked_at(many) == 1
    assert {training["status"] for training in await shown(many)} == {"expired"}
    [first, *_] = await shown(many)
    assert await many.event_types(first["id"]) == ["training.started", "training.overdue", "training.expired"]
    assert first["failure"]["code"] == "watched_too_long"


async def test_an_outage_suspends_and_deletes_nothing(many: Gateway) -> None:
    await goes_down(many, kind="html", status=404)
    for _ in range(5):
        await looked_at(many)
    assert {(training["status"], training["suspended"]) for training in await shown(many)} == {("training", False)}
    await many.upstream.forget_faults()
    await many.upstream.say("ready", "model-0")
    for _ in range(2):
        many.advance(330)
        await many.poll()
    assert sorted(training["status"] for training in await shown(many)) == ["ready"] + ["training"] * (COUNT - 1)


async def test_callers_are_served_by_photogpts_answers_and_not_by_the_polls(many: Gateway) -> None:
    """A caller who waits may always ask: what it wants may work though polls do not."""
    await goes_down(many)
    await looked_at(many)
    await many.upstream.put_model("model-new")
    assert (await many.train("model-new")).status_code == 202
