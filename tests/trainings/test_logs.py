"""The logs say what happens, with ids, and never hold a key, a secret, a token or what a caller told us."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.gateway import KEY, MASTER_KEY, OTHER_KEY, SECRET, Gateway, World
from tests.support.keysets import another_keyset
from tests.support.logs import caught_log
from tests.support.waiting import wait_until

NEVER = [
    KEY,
    OTHER_KEY,
    MASTER_KEY,
    SECRET,
    SECRET.removeprefix("whsec_"),
    "token-in-a-url",
    "callers-metadata",
    "words-of-a-receiver",
    "Bearer",
    "v1,",
]


@pytest.fixture(params=[False, True], ids=["json", "human"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    with caught_log(human=request.param, masked=False) as log:
        yield log


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def assert_silent_about_secrets(log: io.StringIO) -> None:
    for secret in NEVER:
        assert secret not in log.getvalue()


def callback(gateway: Gateway, name: str = "default") -> dict[str, Any]:
    return {
        "url": gateway.receiver.hook(name) + "?t=token-in-a-url",
        "secret": SECRET,
        "events": ["training.started", "training.ready", "training.suspended"],
    }


async def test_a_whole_life_is_logged_without_a_secret(world: World, log: io.StringIO) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started(callback=callback(gateway), metadata={"secret": "callers-metadata"})
        await gateway.receiver.fault("status", status=500, body="words-of-a-receiver")
        await gateway.receiver.fault("reset")
        for _ in range(3):
            await gateway.deliver()
            gateway.advance(400)
        for fault in ("cdn_block", "html", "garbage", "reset"):
            await gateway.upstream.fault_reading(fault)
            await gateway.next_poll(training["id"])
        await gateway.upstream.put_model(raw_status="something new")
        await gateway.next_poll(training["id"])
        await gateway.upstream.put_model(raw_status="ready")
        await gateway.next_poll(training["id"])
        await gateway.deliver()
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
    # What is missing could not be seen to hold no secret.
    for event in (
        "triggered",
        "attempted",
        "poll_unreadable",
        "unknown_upstream_status",
        "status_changed",
    ):
        assert event in log.getvalue()
    assert training["id"] in log.getvalue()
    assert_silent_about_secrets(log)


async def test_refusals_and_broken_seals_are_logged_without_a_secret(world: World, log: io.StringIO) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started(callback=callback(gateway), metadata={"secret": "callers-metadata"})
        await gateway.upstream.fault_reading(
            "status", status=401, times=3, body=json.dumps({"status": "NOK", "message": KEY})
        )
        for _ in range(3):
            await gateway.next_poll(training["id"])
        await gateway.upstream.fault_trigger("status", status=401, body=json.dumps({"status": "NOK", "message": KEY}))
        await gateway.http.delete(f"/v1/trainings/{training['id']}")
        assert (await gateway.train()).status_code == 401
        for path in ("/v1/trainings", "/v1/deliveries", f"/v1/trainings/{training['id']}"):
            await gateway.http.get(path, headers={"authorization": "Bearer " + OTHER_KEY})
        await gateway.http.post("/v1/trainings", json={"model_id": KEY + "!", "surprise": "callers-metadata"})
    with another_keyset(world.database, MASTER_KEY):
        async with world.gateway() as gateway:
            gateway.advance(1)
            await gateway.deliver()
    for event in ("suspended", "triggered", "secret_unreadable"):
        assert event in log.getvalue()
    assert_silent_about_secrets(log)


async def broken(gateway: Gateway, table: str) -> None:
    """Nothing can be inserted into this table any more."""
    statement = f"CREATE TRIGGER broken_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(FAIL, 'broken'); END"
    await gateway.components.database.run(lambda connection: connection.exec_driver_sql(statement))


async def test_a_failing_database_is_logged_without_a_secret(world: World, log: io.StringIO) -> None:
    """Errors of SQLAlchemy tell the parameters of their statement, unless it is told not to."""
    await world.upstream.put_model()
    async with world.gateway(loops=True) as gateway:
        await broken(gateway, "callbacks")
        with pytest.raises(IntegrityError, match="broken") as failed:
            await gateway.train(callback=callback(gateway))
        # The server logs what leaves the application.
        log.write(str(failed.value))
        await broken(gateway, "events")
        with pytest.raises(IntegrityError, match="broken") as failed:
            await gateway.train(metadata={"s": "callers-metadata"})
        log.write(str(failed.value))
        gateway.advance(60)
        gateway.components.loops.polls.wake()
        await wait_until(lambda: "work_failed" in log.getvalue(), what="a poll that could not be recorded")
    assert "INSERT INTO callbacks" in log.getvalue()
    assert "INSERT INTO events" in log.getvalue()
    assert_silent_about_secrets(log)
    assert "hide_parameters" in log.getvalue()


async def test_a_defect_where_a_key_is_at_hand_is_logged_without_it(world: World, log: io.StringIO) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        await gateway.started(callback=callback(gateway))
        gateway.advance(330)
    # What the fence raises, far down in a call that carries the key, nobody expects.
    async with world.gateway(loops=True, PHOTOGPT_BASE_URL="http://photogpt.example/api"):
        await wait_until(lambda: "work_failed" in log.getvalue(), what="a poll that fails in a way of its own")
    assert "OutsideLoopback" in log.getvalue()
    assert_silent_about_secrets(log)


async def test_a_word_that_nobody_told_us_of_is_logged_once(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway.upstream.put_model("model-2")
    for model in ("model-1", "model-2"):
        training = await gateway.started(model)
        for word in ("Warming-Up", "cooling down", "Warming-Up"):
            await gateway.upstream.put_model(model, raw_status=word)
            await gateway.next_poll(training["id"])
    said = capsys.readouterr().out
    assert (said.count("Warming-Up"), said.count("cooling down")) == (1, 1)
