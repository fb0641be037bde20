"""When a training is expected to be ready: stored at its trigger, shown while it is watched, learned from the last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import update

from service.domain.training import Status
from service.storage.tables import Training
from tests.support.gateway import MODEL, NOW, Gateway, World
from tests.support.rows import a_training, store

MINUTE = timedelta(minutes=1)
# Of these the percentiles are 12, 20 and 28.
MINUTES = range(10, 31)


def estimates(training: dict[str, Any]) -> tuple[Any, Any]:
    return training["estimated_ready_at"], training["estimated_ready_range"]


def after(at: datetime, least: float, middle: float, most: float) -> tuple[Any, Any]:
    """The estimates of a training that was triggered then, so many minutes later."""
    start, ready, end = (
        (at + minutes * MINUTE).isoformat(timespec="milliseconds") for minutes in (least, middle, most)
    )
    return ready.replace("+00:00", "Z"), {"from": start.replace("+00:00", "Z"), "to": end.replace("+00:00", "Z")}


async def became_ready(gateway: Gateway, minutes: Sequence[float], *, name: str = "ready") -> None:
    """Trainings that took so long, of a tenant that is there already; they ended just now."""
    tenant = (await gateway.rows(Training))[0].tenant_id
    rows = [a_training(f"trn_{name}_{n}", tenant=tenant, status=Status.READY) for n in range(len(minutes))]
    for row, took in zip(rows, minutes, strict=True):
        row.finished_at = gateway.clock.now()
        row.triggered_at = row.finished_at - took * MINUTE
    await store(gateway.components.database, *rows)


async def another(gateway: Gateway, model: str) -> dict[str, Any]:
    await gateway.upstream.put_model(model)
    return await gateway.started(model)


async def test_at_first_it_is_the_usual_20_to_25_minutes(gateway: Gateway) -> None:
    training = await gateway.started()
    assert estimates(training) == after(NOW, 20, 22.5, 25)
    assert estimates(await gateway.training(training["id"])) == estimates(training)
    [event] = await gateway.events(training["id"])
    assert estimates(event["data"]) == estimates(training)


async def test_it_is_learned_from_what_became_ready(gateway: Gateway) -> None:
    await gateway.started()
    await became_ready(gateway, MINUTES[1:-1])
    gateway.advance(60)
    assert estimates(await another(gateway, "model-2")) == after(gateway.clock.now(), 20, 22.5, 25)
    await became_ready(gateway, (10, 30), name="more")
    gateway.advance(60)
    assert estimates(await another(gateway, "model-3")) == after(gateway.clock.now(), 12, 20, 28)


async def test_a_training_that_ends_here_teaches(gateway: Gateway) -> None:
    training = await gateway.started()
    await became_ready(gateway, [10] * 19)
    await gateway.upstream.say("ready")
    gateway.advance(600)
    assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "ready"
    assert estimates(await another(gateway, "model-2")) == after(gateway.clock.now(), 10, 10, 10)


async def test_it_is_read_once_a_minute_also_when_the_clock_was_put_back(gateway: Gateway) -> None:
    await gateway.started()
    await became_ready(gateway, MINUTES)
    gateway.advance(59.9)
    assert estimates(await another(gateway, "model-2")) == after(gateway.clock.now(), 20, 22.5, 25)
    gateway.clock.jump(-7200)
    assert estimates(await another(gateway, "model-3")) == after(gateway.clock.now(), 12, 20, 28)


async def test_what_was_expected_stays_whatever_is_learned_later(gateway: Gateway) -> None:
    training = await gateway.started()
    await became_ready(gateway, MINUTES)
    gateway.advance(330)
    assert await gateway.poll() == 1
    assert estimates(await gateway.training(training["id"])) == after(NOW, 20, 22.5, 25)


async def test_nothing_is_expected_of_what_has_ended_or_was_not_triggered(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.http.delete(f"/v1/trainings/{training['id']}")
    assert estimates(await gateway.training(training["id"])) == (None, None)
    assert estimates((await gateway.events(training["id"]))[-1]["data"]) == (None, None)
    await gateway.upstream.put_model("model-2")
    await gateway.upstream.fault_trigger("reset_after", "model-2")
    assert estimates((await gateway.train("model-2")).json()) == (None, None)


async def test_what_is_adopted_by_a_reading_is_expected_from_its_intent_on(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("reset_after")
    training = (await gateway.train()).json()
    await became_ready(gateway, MINUTES)
    await gateway.next_poll(training["id"])
    adopted = await gateway.training(training["id"])
    assert adopted["status"] == "training"
    assert estimates(adopted) == after(NOW, 12, 20, 28)


async def test_a_training_of_the_release_before_has_the_usual_estimates(gateway: Gateway) -> None:
    training = await gateway.started()
    columns = ("ready_expected_from", "ready_expected_at", "ready_expected_to")
    await gateway.components.database.transaction(
        lambda unit: unit.session.exec(update(Training).values(dict.fromkeys(columns)))
    )
    assert estimates(await gateway.training(training["id"])) == after(NOW, 20, 22.5, 25)


async def test_the_estimates_survive_a_restart(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
        await became_ready(gateway, MINUTES)
    async with world.gateway(seed=2) as gateway:
        assert estimates(await gateway.training(training["id"])) == after(NOW, 20, 22.5, 25)
        assert estimates(await another(gateway, "model-2")) == after(NOW, 12, 20, 28)
    assert await world.upstream.triggers() == {MODEL: 1, "model-2": 1}
