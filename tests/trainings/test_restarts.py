"""What a gateway finds when it starts again: every due time, event and delivery, and perhaps other settings."""

from __future__ import annotations

from datetime import datetime, timedelta

from service.storage.tables import Training
from tests.support.gateway import MASTER_KEY, MODEL, World
from tests.support.keysets import another_keyset
from tests.support.waiting import wait_until


async def test_a_training_goes_on_where_it_was(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(seed=1) as gateway:
        training = await gateway.started(callback_url=gateway.receiver.hook())
    world.clock.advance(330)
    await world.upstream.say("ready")
    async with world.gateway(seed=2) as gateway:
        assert await gateway.training(training["id"]) == training
        assert await gateway.poll() == 1
    async with world.gateway(seed=3) as gateway:
        assert (await gateway.training(training["id"]))["status"] == "ready"
        assert await gateway.deliver() == 1
        [receipt] = await gateway.receiver.received()
        secret = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
        assert receipt.signed_with(secret, world.clock.now())
    assert await world.upstream.triggers() == {MODEL: 1}


async def test_a_gateway_that_starts_polls_and_delivers_what_is_due_by_itself(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(seed=1) as gateway:
        await gateway.started(callback_url=gateway.receiver.hook())
    world.clock.advance(330)
    await world.upstream.say("ready")
    async with world.gateway(seed=2, loops=True) as gateway:
        await wait_until(gateway.receiver.received, what="the webhook")
        assert [receipt.type for receipt in await gateway.receiver.received()] == ["training.ready"]


async def test_a_shorter_interval_pulls_stored_due_times_in(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
    async with world.gateway(GATEWAY_POLL_INTERVAL=100) as gateway:
        due = datetime.fromisoformat((await gateway.training(training["id"]))["next_poll_at"])
        assert (due - gateway.clock.now()).total_seconds() == 110
        gateway.advance(109.9)
        assert await gateway.poll() == 0
        gateway.advance(0.1)
        assert await gateway.poll() == 1
        due = datetime.fromisoformat((await gateway.training(training["id"]))["next_poll_at"])
        assert 100 <= (due - gateway.clock.now()).total_seconds() <= 110


async def test_a_replica_that_starts_leaves_the_leases_of_others_alone(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(GATEWAY_POLL_INTERVAL=1, GATEWAY_LEASE=60) as gateway:
        training = await gateway.started()
        gateway.advance(1.1)
        [_] = (await gateway.components.trainings.poller.claim(1)).items
        leased = (await gateway.row(Training, training["id"])).due_at
        assert leased == gateway.clock.now() + timedelta(seconds=60)
        assert await gateway.components.trainings.poller.pull_in() == 0
        assert (await gateway.row(Training, training["id"])).due_at == leased


async def test_a_longer_interval_puts_nothing_off(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(GATEWAY_POLL_INTERVAL=10) as gateway:
        training = await gateway.started()
    async with world.gateway(GATEWAY_POLL_INTERVAL=300) as gateway:
        assert (await gateway.training(training["id"]))["next_poll_at"] == training["next_poll_at"]


async def test_a_suspended_training_stays_suspended(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
        await gateway.upstream.fault_reading("status", status=401, times=3)
        for _ in range(3):
            await gateway.next_poll(training["id"])
        before = await gateway.training(training["id"])
    async with world.gateway(GATEWAY_POLL_INTERVAL=1) as gateway:
        assert before["suspended"] is True
        assert await gateway.training(training["id"]) == before
        gateway.advance(1000)
        assert await gateway.poll() == 0


async def test_with_another_keyset_nothing_is_lost_and_nothing_is_sent_unsigned(world: World) -> None:
    await world.upstream.put_model()
    await world.upstream.put_model("model-2")
    async with world.gateway() as gateway:
        training = await gateway.started(callback_url=gateway.receiver.hook())
        callback = {"url": gateway.receiver.hook(), "events": ["training.started"]}
        waiting = await gateway.started("model-2", callback=callback)
    await world.upstream.control("DELETE", "/calls")
    with another_keyset(world.database, MASTER_KEY):
        async with world.gateway() as gateway:
            assert await gateway.deliver() == 1
            gateway.advance(330)
            assert await gateway.poll() == 2
    assert await world.receiver.received() == []
    assert await world.upstream.calls() == []
    async with world.gateway() as gateway:
        [delivery] = await gateway.deliveries(waiting["id"])
        assert [attempt["error_class"] for attempt in delivery["attempts"]] == ["unsigned"]
        assert (await gateway.training(waiting["id"]))["callbacks"][0]["last_problem"] == (
            "unsigned: the signing secret could not be opened, so nothing was sent"
        )
        assert await gateway.deliver() == 1
        await gateway.upstream.say("ready")
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "ready"
        assert await gateway.deliver() == 1
        assert [receipt.type for receipt in await gateway.receiver.received()] == ["training.started", "training.ready"]
