"""The fakes say what PhotoGPT would, in words that the gateway's own client reads, and note what really came."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.fakes.photogpt import PhotoGPT
from bench.fakes.receiver import Receiver
from bench.fakes.wire import Answer as Answering
from bench.fakes.wire import Reply, Request, listen
from bench.http_client import Call, Client
from service.domain.training import KeyRefused, Observation
from service.outbound.exchange import Answer
from service.photogpt.answers import Confirmed, model_reading, trigger_result
from service.photogpt.listing import Listing, listing

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEAD = b"get / http/1.1\r\nauthorization: bearer pgpt-key\r\napi-version: 1"


def ask(photogpt: PhotoGPT, path: str, head: bytes = HEAD) -> Answer:
    reply = photogpt.answer(Request("GET", path, head, b"", "127.0.0.1"))
    return Answer(status_code=reply.status, headers={}, body=reply.body, complete=True, duration=NOW - NOW)


def status_of(photogpt: PhotoGPT, model_id: str) -> str:
    seen = model_reading(ask(photogpt, f"/api/models/{model_id}"), model_id, NOW)
    assert isinstance(seen, Observation)
    return seen.raw_status


def test_a_model_is_new_until_it_is_trained_and_ready_at_the_reading_that_was_ordered() -> None:
    photogpt = PhotoGPT()
    photogpt.reset({"ready_after_readings": 2})
    assert [status_of(photogpt, "one"), status_of(photogpt, "one")] == ["new", "new"]
    assert isinstance(trigger_result(ask(photogpt, "/api/models/one/train"), NOW), Confirmed)
    assert [status_of(photogpt, "one") for _ in range(3)] == ["training", "ready", "ready"]


def test_it_is_known_when_a_model_was_first_said_to_be_ready() -> None:
    photogpt = PhotoGPT()
    photogpt.reset({"ready_after_readings": 2})
    ask(photogpt, "/api/models/one/train")
    status_of(photogpt, "one")
    assert photogpt.said_ready() == {}
    status_of(photogpt, "one")
    first = photogpt.said_ready()
    status_of(photogpt, "one")
    assert first.keys() == {"one"}
    assert photogpt.said_ready() == first


def test_the_list_is_a_reading_of_every_model() -> None:
    photogpt = PhotoGPT()
    photogpt.reset({"ready_after_readings": 2})
    for name in ("one", "two"):
        ask(photogpt, f"/api/models/{name}/train")
    status_of(photogpt, "one")
    listed = listing(ask(photogpt, "/api/models"), NOW)
    assert isinstance(listed, Listing)
    assert {name: model.raw_status for name, model in listed.models.items()} == {"one": "ready", "two": "training"}


def test_a_model_that_others_trained_is_in_training_and_ends_when_ordered() -> None:
    photogpt = PhotoGPT()
    photogpt.reset({"untriggered": "training"})
    assert status_of(photogpt, "watched") == "training"
    photogpt.reset({"untriggered": "training", "ready_after_readings": 1})
    assert status_of(photogpt, "watched") == "ready"


@pytest.mark.parametrize("head", [b"get / http/1.1\r\napi-version: 1", b"get / http/1.1\r\nauthorization: bearer key"])
def test_a_call_without_key_or_version_is_refused_and_counted(head: bytes) -> None:
    photogpt = PhotoGPT()
    assert isinstance(model_reading(ask(photogpt, "/api/models/one", head), "one", NOW), KeyRefused)
    assert (photogpt.counts()["refused"], photogpt.counts()["readings"]) == (1, 0)


def test_a_second_trigger_of_a_model_is_noticed() -> None:
    photogpt = PhotoGPT()
    for name in ("one", "two", "one"):
        ask(photogpt, f"/api/models/{name}/train")
    assert (photogpt.counts()["trainings"], photogpt.counts()["triggered_again"]) == (3, 1)


def test_the_receiver_notes_who_came_and_which_came_twice() -> None:
    receiver = Receiver()
    for webhook_id, model in (("evt_1", "one"), ("evt_2", "two"), ("evt_1", "one")):
        head = b"post / http/1.1\r\nwebhook-id: %s\r\nx: y" % webhook_id.encode()
        reply = receiver.answer(Request("POST", f"/hook/{model}", head, b"{}", "127.0.0.2"))
        assert reply.status == 200
    assert [(one.webhook_id, one.subject, one.host) for one in receiver.receipts] == [
        ("evt_1", "one", "127.0.0.2"),
        ("evt_2", "two", "127.0.0.2"),
        ("evt_1", "one", "127.0.0.2"),
    ]
    assert (receiver.counts()["subjects"], receiver.counts()["doubled"]) == (2, 1)


async def test_a_hanging_receiver_takes_the_webhook_and_says_nothing() -> None:
    receiver = Receiver()
    receiver.reset({"hanging": ["127.0.0.1"]})
    async with served(receiver.answer) as client:
        with pytest.raises(TimeoutError):
            await client.send(Call("POST", "/hook/one", body=b"{}"), timeout=0.05)
    assert (receiver.hung, receiver.receipts) == (1, [])


async def test_one_connection_carries_many_requests_whole_or_in_pieces() -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(request: Request) -> Reply:
        seen.append((request.path, request.body))
        return Reply(200, b'{"number":%d}' % len(seen))

    async with served(answer) as client:
        first = await client.json("POST", "/first", {"some": "body"})
        second = await client.json("GET", "/second")
    assert (first, second) == ({"number": 1}, {"number": 2})
    assert seen == [("/first", json.dumps({"some": "body"}).encode()), ("/second", b"")]


async def test_a_request_in_single_bytes_is_read_as_one() -> None:
    bodies: list[bytes] = []

    def answer(request: Request) -> Reply:
        bodies.append(request.body)
        return Reply(200, close=True)

    server = await listen(answer, ["127.0.0.1"], 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for byte in b"POST /hook HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody":
        writer.write(bytes([byte]))
        await writer.drain()
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert bodies == [b"body"]


async def test_a_request_whose_length_is_not_told_is_refused() -> None:
    head = b"POST /hook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = await listen(lambda _request: Reply(200), ["127.0.0.1"], 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(head)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert answered.startswith(b"HTTP/1.1 411 ")


@asynccontextmanager
async def served(answer: Answering) -> AsyncIterator[Client]:
    server = await listen(answer, ["127.0.0.1"], 0)
    client = Client(*server.sockets[0].getsockname())
    try:
        yield client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


def test_the_shape_of_an_answer_is_that_of_the_documented_model() -> None:
    photogpt = PhotoGPT()
    content: dict[str, Any] = json.loads(ask(photogpt, "/api/models/one").body)
    assert content["status"] == "OK"
    assert content["result"].keys() == {"createdAt", "id", "modelType", "status", "updatedAt"}
