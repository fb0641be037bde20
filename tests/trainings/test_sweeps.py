"""Several trainings of one key are polled by one GET /models: what it spares, and that it delays and ends nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.storage.tables import Tenant, Training
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World

COUNT = 6


@pytest.fixture
async def many(world: World) -> AsyncIterator[Gateway]:
    """A gateway with trainings of one key that take very long, all due in 330 seconds."""
    async with world.gateway(GATEWAY_SWEEP=True) as gateway:
        await start(gateway, COUNT)
        await calls(gateway)
        yield gateway


async def start(gateway: Gateway, count: int, *, key: str = KEY, name: str = "model") -> None:
    for number in range(count):
        model_id = f"{name}-{number}"
        await gateway.upstream.put_model(model_id, key=key, duration_minutes=100_000)
        answer = await gateway.train(model_id, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 202


async def calls(gateway: Gateway) -> dict[str, int]:
    """What was asked of PhotoGPT since the last time this was asked."""
    made = await gateway.upstream.calls("/models(/[^/]+)?")
    await gateway.upstream.control("DELETE", "/calls")
    return dict(Counter(call["path"] for call in made))


async def shown(gateway: Gateway) -> dict[str, dict[str, Any]]:
    answer = await gateway.http.get("/v1/trainings")
    return {training["model_id"]: training for training in answer.json()["data"]}


async def tenant(gateway: Gateway) -> Tenant:
    [row] = await gateway.rows(Tenant)
    return row


async def test_one_call_reads_all(many: Gateway) -> None:
    for _ in range(4):
        many.advance(330)
        assert await many.poll() == 1
        assert await calls(many) == {"/models": 1}
        assert await many.poll() == 0
    trainings = (await shown(many)).values()
    assert {training["status"] for training in trainings} == {"training"}
    assert len({(training["last_polled_at"], training["next_poll_at"]) for training in trainings}) == 1


async def test_what_began_at_different_times_comes_together(world: World) -> None:
    async with world.gateway(GATEWAY_SWEEP=True) as gateway:
        for number in range(COUNT):
            await start(gateway, 1, name=f"m{number}")
            gateway.advance(40)
        await calls(gateway)
        made: Counter[str] = Counter()
        for _ in range(60):
            gateway.advance(30)
            await gateway.poll()
            made.update(await calls(gateway))
        assert set(made) == {"/models"}
        assert 5 <= made["/models"] <= 7


async def test_an_end_that_the_list_shows_is_confirmed_and_told_at_once(many: Gateway) -> None:
    await many.upstream.say("ready", "model-2")
    many.advance(330)
    assert await many.poll() == 1
    assert (await shown(many))["model-2"]["status"] == "training", "a list ends nothing"
    assert await many.poll() == 1
    assert await calls(many) == {"/models": 1, "/models/model-2": 1}
    ended = (await shown(many))["model-2"]
    assert ended["status"] == "ready"
    assert await many.event_types(ended["id"]) == ["training.started", "training.ready"]


async def test_a_list_that_is_wrong_about_an_end_ends_nothing(many: Gateway) -> None:
    models = [{"id": f"model-{number}", "status": "ready"} for number in range(COUNT)]
    await many.upstream.fault("json", path="/models", body={"status": "OK", "result": models})
    many.advance(330)
    assert [await many.poll(), await many.poll(), await many.poll()] == [1, COUNT, 0]
    assert {training["status"] for training in (await shown(many)).values()} == {"training"}


async def test_what_is_missing_in_the_list_is_read_by_itself(many: Gateway) -> None:
    models = [{"id": f"model-{number}", "status": "training"} for number in range(COUNT - 1)]
    await many.upstream.fault("json", path="/models", body={"status": "OK", "result": models}, times=None)
    for _ in range(3):
        many.advance(330)
        assert [await many.poll(), await many.poll()] == [1, 1]
        assert await calls(many) == {"/models": 1, f"/models/model-{COUNT - 1}": 1}


UNUSABLE: list[dict[str, Any]] = [
    {"kind": "json", "body": {"status": "OK", "result": {"models": []}}},
    {"kind": "json", "body": {"status": "OK", "result": []}},
    {"kind": "json", "body": {"status": "OK", "result": [{"id": "model-0", "status": "training"}], "page": 1}},
    {"kind": "json", "body": {"status": "NOK", "message": "No."}},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 400},
]


@pytest.mark.parametrize("fault", UNUSABLE, ids=str)
async def test_a_list_that_cannot_be_used_leaves_its_models_to_single_polls_for_an_hour(
    world: World, fault: dict[str, Any]
) -> None:
    single = {f"/models/model-{number}": 1 for number in range(COUNT)}
    async with world.gateway(GATEWAY_SWEEP=True, GATEWAY_OVERDUE_AFTER=100_000.0) as gateway:
        await start(gateway, COUNT)
        await calls(gateway)
        await gateway.upstream.fault(path="/models", times=None, **fault)
        gateway.advance(330)
        assert [await gateway.poll(), await gateway.poll()] == [1, COUNT]
        assert await calls(gateway) == {"/models": 1, **single}
        for _ in range(10):
            gateway.advance(330)
            assert await gateway.poll() == COUNT
            assert await calls(gateway) == single
        await gateway.upstream.forget_faults()
        gateway.advance(330)
        await gateway.poll()
        assert await calls(gateway) == {"/models": 1}


async def test_a_list_that_does_not_come_is_followed_by_single_polls_at_the_next_turn(many: Gateway) -> None:
    """Nothing is asked at once; and what only the list fails for is read all the same."""
    await many.upstream.fault("status", path="/models", status=500, times=None)
    await many.upstream.say("ready", "model-0")
    many.advance(330)
    assert [await many.poll(), await many.poll()] == [1, 0]
    assert await calls(many) == {"/models": 1}
    many.advance(330)
    assert await many.poll() == COUNT
    assert (await shown(many))["model-0"]["status"] == "ready"


async def test_a_throttled_list_pauses_the_key_and_no_other(many: Gateway) -> None:
    await start(many, 1, key=OTHER_KEY, name="other")
    await calls(many)
    await many.upstream.fault("status", path="/models", status=429, headers={"Retry-After": "1000"})
    many.advance(330)
    assert await many.poll() == 2
    assert await calls(many) == {"/models": 1, "/models/other-0": 1}
    many.advance(990)
    await many.poll()
    assert set(await calls(many)) == {"/models/other-0"}
    many.advance(10)
    await many.poll()
    assert "/models" in await calls(many)


async def test_a_refused_key_counts_for_each_training_and_suspends_them_together(many: Gateway) -> None:
    await many.upstream.fault("status", path="/models(/[^/]+)?", status=401, times=None)
    for _ in range(3):
        many.advance(330)
        assert [await many.poll(), await many.poll()] == [1, 0]
    assert await calls(many) == {"/models": 3}
    trainings = (await shown(many)).values()
    assert {training["suspended"] for training in trainings} == {True}


async def test_what_is_overdue_is_always_read_by_itself(many: Gateway) -> None:
    """However long a list says `training`."""
    models = [{"id": f"model-{number}", "status": "training"} for number in range(COUNT)]
    await many.upstream.fault("json", path="/models", body={"status": "OK", "result": models}, times=None)
    await many.upstream.say("ready", "model-3")
    for _ in range(6):
        many.advance(330)
        assert await many.poll() == 1
    many.advance(330)
    await many.poll()
    assert (await shown(many))["model-3"]["status"] == "ready"


async def test_a_key_with_one_training_is_polled_by_it(world: World) -> None:
    async with world.gateway(GATEWAY_SWEEP=True) as gateway:
        await start(gateway, 1)
        await start(gateway, 1, key=OTHER_KEY, name="other")
        await calls(gateway)
        gateway.advance(330)
        assert await gateway.poll() == 2
        assert await calls(gateway) == {"/models/model-0": 1, "/models/other-0": 1}


async def test_a_trigger_that_is_not_confirmed_is_read_by_itself(many: Gateway) -> None:
    await many.upstream.put_model("model-new")
    await many.upstream.fault_trigger("reset", "model-new")
    await many.started("model-new")
    await calls(many)
    many.advance(330)
    assert await many.poll() == 2
    assert await calls(many) == {"/models": 1, "/models/model-new": 1}


async def test_while_a_list_is_read_nobody_else_polls_its_key(world: World, many: Gateway) -> None:
    many.advance(330)
    [sweep] = (await many.components.trainings.poller.claim(10)).items
    async with world.gateway(seed=2, GATEWAY_SWEEP=True) as replica:
        assert await replica.poll() == 0
        await many.components.trainings.poller.poll(sweep)
        assert (await tenant(many)).polls_paused_until is None
        assert await replica.poll() == 0
    assert await calls(many) == {"/models": 1}


async def test_a_sweep_whose_worker_died_is_taken_over_by_single_polls_when_its_lease_ends(many: Gateway) -> None:
    many.advance(330)
    await many.components.trainings.poller.claim(10)
    many.forget_claims()
    many.advance(59)
    assert await many.poll() == 0
    many.advance(1)
    assert await many.poll() == COUNT
    assert {training["status"] for training in (await shown(many)).values()} == {"training"}


async def test_what_was_changed_while_the_list_was_read_is_left_as_it_is(many: Gateway) -> None:
    many.advance(330)
    [sweep] = (await many.components.trainings.poller.claim(10)).items
    cancelled = (await shown(many))["model-1"]["id"]
    assert (await many.http.delete(f"/v1/trainings/{cancelled}")).status_code == 200
    await many.components.trainings.poller.poll(sweep)
    rows = {row.model_id: row for row in await many.rows(Training)}
    assert rows["model-1"].status == "cancelled"
    assert rows["model-1"].due_at is None
    assert {row.last_polled_at for row in rows.values() if row.status == "training"} == {many.clock.now()}


async def test_a_key_with_very_many_trainings_is_swept_in_parts(world: World) -> None:
    async with world.gateway(GATEWAY_SWEEP=True, GATEWAY_POLLS_PER_KEY=4) as gateway:
        await start(gateway, 1)
        row = (await gateway.rows(Training))[0]
        copies = [
            Training(**{**row.model_dump(), "id": f"trn_{number:05}", "model_id": f"copy-{number}"})
            for number in range(1100)
        ]
        await gateway.components.database.transaction(lambda unit: unit.session.add_all(copies))
        await gateway.upstream.control(
            "POST", "/models", json={"key": KEY, "prefix": "other", "count": 1, "images": 15}
        )
        models = [{"id": one.model_id, "status": "training"} for one in [row, *copies]]
        await gateway.upstream.fault("json", path="/models", body={"status": "OK", "result": models}, times=None)
        await calls(gateway)
        gateway.advance(330)
        passes = 0
        while await gateway.poll():
            passes += 1
        assert passes == 3
        assert await calls(gateway) == {"/models": 3}
        assert {one.last_polled_at for one in await gateway.rows(Training)} == {gateway.clock.now()}


async def test_a_clock_put_back_does_not_keep_a_key_from_its_next_sweep(many: Gateway) -> None:
    many.advance(330)
    await many.poll()
    many.clock.jump(-1_000_000)
    await many.components.trainings.poller.pull_in()
    await calls(many)
    for _ in range(14):
        many.advance(330)
        await many.poll()
    assert "/models" in await calls(many)
