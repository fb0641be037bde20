"""The line that a request has in the log, and the id that it shares with the lines it led to."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import Gateway, World
from tests.support.logs import caught_log
from tests.support.outage import find_database, lose_database


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with caught_log(human=False) as written:
        yield written


def lines(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in found if line["event"] == event]


async def fail(world: World, gateway: Gateway, times: int) -> None:
    await lose_database(world, gateway)
    for _ in range(times):
        assert (await gateway.http.get("/v1/trainings")).status_code == 503
    await find_database(world)


async def test_all_requests_have_a_line_without_what_was_sent(world: World, log: io.StringIO) -> None:
    async with world.gateway(GATEWAY_ACCESS_LOG="all") as gateway:
        await gateway.http.get("/v1/trainings/trn_planted?token=planted", headers={"x-planted": "planted"})
        await gateway.http.get("/planted/path")
    first, second = lines(log, "request")
    assert {name: first[name] for name in ("method", "route", "status", "level")} == {
        "method": "GET",
        "route": "/v1/trainings/{training_id}",
        "status": 404,
        "level": "info",
    }
    assert first["duration_ms"] == 0
    assert first["request_id"] != second["request_id"]
    assert second["route"] == "none"
    assert "planted" not in json.dumps([first, second])


async def test_unless_said_otherwise_those_that_fail_have_one(world: World, gateway: Gateway, log: io.StringIO) -> None:
    await gateway.http.get("/v1/trainings")
    await gateway.http.get("/v1/trainings/nope")
    assert lines(log, "request") == []
    await fail(world, gateway, 1)
    [line] = lines(log, "request")
    assert (line["route"], line["status"], line["level"]) == ("/v1/trainings", 503, "warning")


async def test_while_everything_fails_there_are_not_as_many_lines_as_requests(
    world: World, gateway: Gateway, log: io.StringIO
) -> None:
    await fail(world, gateway, 130)
    assert 50 < len(lines(log, "request")) <= 100


async def test_none_has_one_where_that_is_switched_off(world: World, log: io.StringIO) -> None:
    async with world.gateway(GATEWAY_ACCESS_LOG="off") as gateway:
        await fail(world, gateway, 1)
    assert lines(log, "request") == []


async def test_what_a_request_leads_to_has_its_id_and_its_trace(gateway: Gateway, log: io.StringIO) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "ingress-17", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    training = (await gateway.train(callback_url=gateway.receiver.hook(), headers=headers)).json()
    [line] = lines(log, "triggered")
    assert (line["request_id"], line["trace_id"]) == ("ingress-17", trace)
    assert (line["training_id"], line["model_id"], line["result"]) == (training["id"], "model-1", "confirmed")
    assert line["tenant_id"].startswith("ten_")

    await gateway.train(headers={"x-request-id": "ingress-18"})
    [line] = lines(log, "joined")
    assert (line["request_id"], line["training_id"]) == ("ingress-18", training["id"])

    await gateway.upstream.say("ready")
    for _ in range(3):
        gateway.advance(360)
        await gateway.poll()
    await gateway.deliver()
    for event in ("status_changed", "attempted"):
        [line] = lines(log, event)
        assert (line["training_id"], line["trace_id"]) == (training["id"], trace), event
        assert "request_id" not in line, event


async def test_work_that_fails_says_on_what(world: World, log: io.StringIO) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
        gateway.advance(360)
        [due] = (await gateway.components.loops.polls._claim(10)).items
        await gateway.components.database.run(
            lambda connection: connection.exec_driver_sql(
                "CREATE TRIGGER broken BEFORE UPDATE ON trainings BEGIN SELECT RAISE(ABORT, 'planted'); END"
            )
        )
        await gateway.components.loops.polls._guarded(due)
    [line] = lines(log, "work_failed")
    assert (line["loop"], line["row"]) == ("poller", training["id"])
