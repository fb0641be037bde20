"""PhotoGPT says no: its status and its words go to the caller, and nothing is triggered later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from service.storage.tables import Callback, Event, IdempotencyKey, Tenant, Training
from tests.support.gateway import KEY, MODEL, Gateway, World

RELAYED = [400, 401, 402, 403, 404, 409, 422, 429, 503]


def nok(message: str | None = "because of this") -> str:
    return json.dumps({"status": "NOK", "message": message, "err": "another text", "result": None})


async def assert_rejected(gateway: Gateway, answer: httpx.Response, code: str, message: str) -> None:
    """The problem tells of a training that was rejected, and its event is recorded for nobody."""
    training = answer.json()["training"]
    assert (training["status"], training["sequence"]) == ("rejected", 1)
    assert training["failure"] == {"code": code, "message": message}
    assert (training["next_poll_at"], training["triggered_at"]) == (None, None)
    assert training["finished_at"] == "2026-11-22T12:00:00.000Z"
    assert training == await gateway.training(training["id"])
    assert await gateway.events(training["id"]) == [
        {"type": "training.rejected", "timestamp": "2026-11-22T12:00:00.000Z", "data": training}
    ]
    assert await gateway.deliveries(training["id"]) == []
    assert await gateway.deliver() == 0
    [tenant] = await gateway.rows(Tenant)
    assert tenant.sealed_key is None
    gateway.advance(100_000)
    assert await gateway.poll() == 0
    assert await gateway.upstream.trigger_calls() == 1


@pytest.mark.parametrize("status", RELAYED)
async def test_a_refused_trigger_is_relayed_and_the_training_rejected(gateway: Gateway, status: int) -> None:
    await gateway.upstream.fault_trigger("status", status=status, body=nok())
    answer = await gateway.train(callback_url=gateway.receiver.hook())
    problem = answer.json()
    training = problem.pop("training")
    assert answer.status_code == status
    assert problem == {
        "type": "urn:photogpt-webhooks:problem:upstream_refused",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": "upstream_refused",
        "detail": "because of this",
        "upstream": {"status": status, "message": "because of this"},
    }
    assert "retry-after" not in answer.headers
    assert "location" not in answer.headers
    assert training["model_id"] == MODEL
    await assert_rejected(gateway, answer, "upstream_refused", f"PhotoGPT refused with HTTP {status}: because of this")


async def test_a_model_whose_trigger_was_refused_can_be_tried_again(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("status", status=402, body=nok())
    refused = await gateway.train()
    gateway.advance(1)
    accepted = await gateway.train()
    assert (refused.status_code, accepted.status_code) == (402, 202)
    assert accepted.json()["id"] > refused.json()["training"]["id"]
    assert await gateway.upstream.triggers() == {MODEL: 1}


@pytest.mark.parametrize("where", ["reading", "trigger"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("7", "7"),
        ("0", "1"),
        ("Sun, 22 Nov 2026 12:02:00 GMT", "120"),
        ("Sun, 22 Nov 2026 11:00:00 GMT", "1"),
        ("3601", "3600"),
        ("999999999999999999999", "3600"),
    ],
)
async def test_retry_after_is_passed_on_within_bounds(gateway: Gateway, where: str, asked: str, told: str) -> None:
    order = gateway.upstream.fault_reading if where == "reading" else gateway.upstream.fault_trigger
    await order("status", status=429, body=nok(), headers={"Retry-After": asked})
    answer = await gateway.train()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, told)


@pytest.mark.parametrize("asked", ["soon", "-1", "1.5", ""])
async def test_a_nonsensical_retry_after_is_not_passed_on(gateway: Gateway, asked: str) -> None:
    await gateway.upstream.fault_trigger("status", status=429, body=nok(), headers={"Retry-After": asked})
    answer = await gateway.train()
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("status", [405, 406, 410, 418, 451])
async def test_a_refusal_of_another_kind_is_a_bad_gateway_that_tells_it(gateway: Gateway, status: int) -> None:
    await gateway.upstream.fault_trigger("status", status=status, body=nok())
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_refused")
    assert answer.json()["upstream"] == {"status": status, "message": "because of this"}
    await assert_rejected(gateway, answer, "upstream_refused", f"PhotoGPT refused with HTTP {status}: because of this")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (nok(None), "another text"),
        (nok("  "), "another text"),
        (nok("two\nlines\tand \u0007a bell"), "two lines and  a bell"),
        (nok("x" * 10_000), "x" * 500),
        (json.dumps({"status": "NOK", "message": ["a", "list"]}), "PhotoGPT refused the request with HTTP 400."),
        ("{}", "PhotoGPT refused the request with HTTP 400."),
        ("<html>no</html>", "PhotoGPT refused the request with HTTP 400."),
        ("", "PhotoGPT refused the request with HTTP 400."),
        (r'{"status": "NOK", "message": "half a \ud83d pair and \u0000"}', "half a   pair and"),
    ],
)
async def test_photogpts_words_are_made_safe_or_ours_stand_in(gateway: Gateway, body: str, detail: str) -> None:
    await gateway.upstream.fault_trigger("status", status=400, body=body)
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


async def test_ok_without_ok_in_the_body_is_a_refusal(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("json", body={"status": "NOK", "message": "no credits left"})
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["code"]) == (422, "upstream_refused")
    assert answer.json()["detail"] == "no credits left"
    await assert_rejected(gateway, answer, "upstream_refused", "PhotoGPT refused with HTTP 422: no credits left")


async def test_a_page_of_the_cdn_means_that_photogpt_was_not_reached(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("cdn_block")
    answer = await gateway.train(callback_url=gateway.receiver.hook())
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
    assert answer.headers["retry-after"] == "5"
    message = "PhotoGPT was not reached (http_403); nothing was triggered."
    assert answer.json()["detail"] == message
    await assert_rejected(gateway, answer, "upstream_unreachable", message)


@asynccontextmanager
async def vanishing_photogpt() -> AsyncIterator[str]:
    """Answers one reading of a model, and is gone: whoever connects after that is refused."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        body = json.dumps({"status": "OK", "result": {"id": MODEL, "status": "new"}})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_trigger_that_can_not_connect_was_certainly_not_sent(world: World) -> None:
    async with vanishing_photogpt() as base_url, world.gateway(PHOTOGPT_BASE_URL=base_url) as gateway:
        answer = await gateway.train(callback_url=gateway.receiver.hook())
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
        message = "PhotoGPT was not reached (refused); nothing was triggered."
        assert answer.json()["detail"] == message
        training = answer.json()["training"]
        assert training["status"] == "rejected"
        assert training["failure"] == {"code": "upstream_unreachable", "message": message}
        assert await gateway.event_types(training["id"]) == ["training.rejected"]
        assert await gateway.deliveries(training["id"]) == []


# --- the reading before the trigger ---


async def assert_nothing_stored(gateway: Gateway) -> None:
    for table in (Tenant, Training, Callback, Event, IdempotencyKey):
        assert await gateway.count(table) == 0, table.__name__
    assert await gateway.upstream.trigger_calls() == 0


@pytest.mark.parametrize("status", RELAYED)
async def test_a_refused_reading_is_relayed_and_nothing_is_stored(gateway: Gateway, status: int) -> None:
    await gateway.upstream.fault_reading("status", status=status, body=nok())
    answer = await gateway.train(callback_url=gateway.receiver.hook(), headers={"idempotency-key": "one"})
    assert answer.status_code == status
    assert answer.json() == {
        "type": "urn:photogpt-webhooks:problem:upstream_refused",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": "upstream_refused",
        "detail": "because of this",
        "upstream": {"status": status, "message": "because of this"},
    }
    await assert_nothing_stored(gateway)


async def test_a_reading_of_nok_is_a_refusal_and_nothing_is_stored(gateway: Gateway) -> None:
    await gateway.upstream.fault_reading("json", body={"status": "NOK", "message": "no credits left"})
    answer = await gateway.train(callback_url=gateway.receiver.hook(), headers={"idempotency-key": "one"})
    assert (answer.status_code, answer.json()["code"]) == (422, "upstream_refused")
    assert answer.json()["detail"] == "no credits left"
    assert answer.json()["upstream"] == {"status": 422, "message": "no credits left"}
    await assert_nothing_stored(gateway)
    assert (await gateway.train(headers={"idempotency-key": "one"})).status_code == 202


async def test_a_reading_that_has_to_wait_is_told_until_when(gateway: Gateway) -> None:
    await gateway.upstream.fault_reading("status", status=503, body=nok(), headers={"Retry-After": "7"})
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["detail"]) == (503, "because of this")
    assert answer.headers["retry-after"] == "7"
    await assert_nothing_stored(gateway)


async def test_a_model_of_another_key_is_refused_in_photogpts_words(gateway: Gateway) -> None:
    answer = await gateway.train("somebody-elses")
    assert (answer.status_code, answer.json()["code"]) == (404, "upstream_refused")
    assert answer.json()["detail"] == "there is no such model"
    await assert_nothing_stored(gateway)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 500},
        {"kind": "html"},
        {"kind": "html", "status": 404},
        {"kind": "html", "status": 503},
        {"kind": "cdn_block"},
        {"kind": "garbage"},
        {"kind": "json", "body": None},
        {"kind": "json", "body": []},
        {"kind": "json", "body": {"id": MODEL, "status": "new"}},
        {"kind": "json", "body": {"status": "OK"}},
        {"kind": "json", "body": {"status": "OK", "result": "new"}},
        {"kind": "json", "body": {"status": "OK", "result": {"id": "another", "status": "new"}}},
        {"kind": "json", "body": {"status": "OK", "result": {"id": MODEL, "status": 1}}},
        {"kind": "redirect", "location": "/api/ping"},
        {"kind": "reset"},
        {"kind": "reset_after"},
    ],
    ids=str,
)
async def test_a_reading_that_tells_nothing_is_no_ground_to_trigger(gateway: Gateway, fault: dict[str, Any]) -> None:
    await gateway.upstream.fault_reading(**fault)
    answer = await gateway.train(callback_url=gateway.receiver.hook(), headers={"idempotency-key": "one"})
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
    assert answer.headers["retry-after"] == "5"
    assert "Nothing was triggered; try again." in answer.json()["detail"]
    await assert_nothing_stored(gateway)
    assert (await gateway.train(headers={"idempotency-key": "one"})).status_code == 202


async def test_a_reading_that_takes_too_long_is_given_up(world: World) -> None:
    await world.upstream.put_model()
    await world.upstream.fault_reading("hang", seconds=60)
    async with world.gateway(GATEWAY_UPSTREAM_TIMEOUT=0.2) as gateway:
        answer = await gateway.train()
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
        assert "(timeout)" in answer.json()["detail"]
        await assert_nothing_stored(gateway)


async def test_where_nobody_listens_nothing_is_stored(world: World) -> None:
    async with vanishing_photogpt() as base_url:
        pass
    async with world.gateway(PHOTOGPT_BASE_URL=base_url) as gateway:
        answer = await gateway.train()
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
        assert "(refused)" in answer.json()["detail"]
        await assert_nothing_stored(gateway)


@pytest.mark.parametrize("where", ["reading", "trigger"])
async def test_a_key_that_photogpt_repeats_in_its_refusal_is_not_shown(gateway: Gateway, where: str) -> None:
    order = gateway.upstream.fault_reading if where == "reading" else gateway.upstream.fault_trigger
    await order("status", status=401, body=nok(f"the key {KEY} is not valid"))
    answer = await gateway.train()
    assert answer.status_code == 401
    assert KEY not in answer.text
    for event in await gateway.rows(Event):
        assert KEY.encode() not in event.body
