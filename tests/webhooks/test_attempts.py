"""One attempt: what is sent, what counts as success, and how its outcome is recorded and told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import NOW, OTHER_SECRET, SECRET, Gateway, Simulators, World, new_world
from tests.support.node import SignedMessage, Verdict

REDIRECTED = "it answered with a redirect, which is not followed: give the final URL"


async def sent(gateway: Gateway, **callback: Any) -> dict[str, Any]:
    """A training whose callback has had one attempt to hear of its start."""
    given = {"url": gateway.receiver.hook(), "events": ["training.started"], **callback}
    training = await gateway.started(callback=given)
    assert await gateway.deliver() == 1
    return training


async def only_delivery(gateway: Gateway, training: dict[str, Any]) -> dict[str, Any]:
    [delivery] = await gateway.deliveries(training["id"])
    return delivery


async def last_problem(gateway: Gateway, training: dict[str, Any]) -> str | None:
    [callback] = (await gateway.training(training["id"]))["callbacks"]
    problem: str | None = callback["last_problem"]
    return problem


# --- what is sent ---


async def test_an_event_is_sent_as_standard_webhooks_wants_it(gateway: Gateway) -> None:
    training = await sent(gateway)
    [receipt] = await gateway.receiver.received()
    delivery = await only_delivery(gateway, training)
    assert receipt.headers["webhook-id"] == delivery["event_id"]
    assert receipt.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert receipt.headers["webhook-signature"].startswith("v1,")
    assert receipt.headers["content-type"] == "application/json"
    assert receipt.headers["user-agent"] == "photogpt-webhooks/0.1 (Standard Webhooks)"
    assert receipt.headers["accept-encoding"] == "identity"
    assert int(receipt.headers["content-length"]) == len(receipt.body.encode())
    assert "authorization" not in receipt.headers
    assert receipt.event == {"type": "training.started", "timestamp": "2026-11-22T12:00:00.000Z", "data": training}


@pytest.fixture
async def today(simulators: Simulators, template: Path) -> AsyncIterator[World]:
    """For verifiers that look at the real clock."""
    now = datetime.now(UTC)  # noqa: TID251  # as said
    async with new_world(simulators, template, now) as world:
        await world.upstream.put_model()
        yield world


async def test_the_official_libraries_of_two_languages_verify_it(
    today: World, npm_verifier: Callable[[Sequence[SignedMessage]], list[Verdict]]
) -> None:
    async with today.gateway(GATEWAY_POLL_INTERVAL=10) as gateway:
        tenants = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
        secrets = {"tenants": tenants, "own": SECRET}
        for name, secret in secrets.items():
            await gateway.receiver.expect_secret(secret, name)
        training = await gateway.started(callback={"url": gateway.receiver.hook("tenants")})
        await gateway.train(callback={"url": gateway.receiver.hook("own"), "secret": SECRET})
        await gateway.upstream.say("ready")
        await gateway.next_poll(training["id"])
        assert await gateway.deliver() == 2
        receipts = await gateway.receiver.received()
    assert sorted((receipt.name, receipt.verified) for receipt in receipts) == [("own", True), ("tenants", True)]
    messages: list[SignedMessage] = [
        {
            "secret": secrets[receipt.name],
            "id": receipt.id,
            "timestamp": receipt.headers["webhook-timestamp"],
            "signature": receipt.headers["webhook-signature"],
            "body": receipt.body,
        }
        for receipt in receipts
    ]
    assert [verdict["problem"] for verdict in npm_verifier(messages)] == [None, None]


async def test_a_receiver_that_expects_another_secret_refuses_it(today: World) -> None:
    async with today.gateway() as gateway:
        await gateway.receiver.expect_secret(OTHER_SECRET)
        training = await sent(gateway, secret=SECRET)
        [receipt] = await gateway.receiver.received()
        assert (receipt.verified, receipt.answered) == (False, 401)
        assert await last_problem(gateway, training) == "the receiver answered HTTP 401"


async def test_a_callback_without_a_secret_is_signed_with_the_tenants(gateway: Gateway) -> None:
    await sent(gateway)
    [receipt] = await gateway.receiver.received()
    secret = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
    assert receipt.signed_with(secret, NOW)
    assert not receipt.signed_with(SECRET, NOW)


async def test_a_callback_with_a_secret_is_signed_with_it(gateway: Gateway) -> None:
    await sent(gateway, secret=SECRET)
    [receipt] = await gateway.receiver.received()
    assert receipt.signed_with(SECRET, NOW)
    assert not receipt.signed_with((await gateway.http.get("/v1/signing-secret")).json()["secret"], NOW)


async def test_each_callback_of_a_training_is_signed_with_its_own_secret(gateway: Gateway) -> None:
    training = await gateway.started(callback={"url": gateway.receiver.hook("a"), "secret": SECRET})
    await gateway.train(callback={"url": gateway.receiver.hook("b"), "secret": OTHER_SECRET})
    await gateway.train(callback={"url": gateway.receiver.hook("c")})
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.deliver() == 3
    tenants = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
    secrets = {"a": SECRET, "b": OTHER_SECRET, "c": tenants}
    receipts = await gateway.receiver.received()
    assert {receipt.name for receipt in receipts} == {"a", "b", "c"}
    for receipt in receipts:
        for name, secret in secrets.items():
            assert receipt.signed_with(secret, gateway.clock.now()) is (name == receipt.name)


async def test_a_callback_that_joins_again_with_a_new_secret_is_signed_with_that(gateway: Gateway) -> None:
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "secret": SECRET})
    await gateway.train(callback={"url": gateway.receiver.hook(), "secret": OTHER_SECRET})
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    await gateway.deliver()
    [receipt] = await gateway.receiver.received()
    assert receipt.signed_with(OTHER_SECRET, gateway.clock.now())


async def test_what_is_signed_is_what_is_sent_whatever_is_in_it(gateway: Gateway) -> None:
    metadata = {"größe": '„größer“ 😀 <&> \\ " /', "line": "a\u2028b\tc"}
    training = await gateway.started(
        callback={"url": gateway.receiver.hook(), "secret": SECRET, "events": ["training.started"]}, metadata=metadata
    )
    await gateway.deliver()
    [receipt] = await gateway.receiver.received()
    assert receipt.signed_with(SECRET, NOW)
    assert receipt.event["data"]["metadata"] == metadata == training["metadata"]


async def test_the_query_of_a_callback_url_is_sent_unmasked(gateway: Gateway) -> None:
    """The receiver's log does not hold it, so a receiver that only asks for it tells."""
    training = await sent(gateway, url=gateway.receiver.hook("a") + "?token=hush&b=%20c")
    [receipt] = await gateway.receiver.received("a")
    assert receipt.answered == 204
    assert (await only_delivery(gateway, training))["url"] == gateway.receiver.hook("a") + "?token=***&b=***"


# --- success and failure ---


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
async def test_any_2xx_is_success(gateway: Gateway, status: int) -> None:
    await gateway.receiver.fault("status", status=status, body="thanks", content_type="text/plain")
    training = await sent(gateway)
    delivery = await only_delivery(gateway, training)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("delivered", None)
    [attempt] = delivery["attempts"]
    assert (attempt["status_code"], attempt["error_class"]) == (status, None)
    assert attempt["excerpt"] == ("" if status == 204 else "thanks")
    assert await last_problem(gateway, training) is None


@pytest.mark.parametrize(
    ("fault", "status_code", "error_class", "problem"),
    [
        ({"kind": "status", "status": 300}, 300, "http_3xx", "HTTP 300: " + REDIRECTED),
        ({"kind": "redirect", "location": "/hook/b"}, 302, "http_3xx", "HTTP 302: " + REDIRECTED),
        ({"kind": "redirect", "location": "/hook/b", "status": 307}, 307, "http_3xx", "HTTP 307: " + REDIRECTED),
        ({"kind": "redirect", "location": "/hook/b", "status": 308}, 308, "http_3xx", "HTTP 308: " + REDIRECTED),
        ({"kind": "status", "status": 304}, 304, "http_3xx", "HTTP 304: " + REDIRECTED),
        ({"kind": "status", "status": 400}, 400, "http_4xx", "the receiver answered HTTP 400"),
        ({"kind": "status", "status": 401}, 401, "http_4xx", "the receiver answered HTTP 401"),
        ({"kind": "status", "status": 404}, 404, "http_4xx", "the receiver answered HTTP 404"),
        ({"kind": "status", "status": 409}, 409, "http_4xx", "the receiver answered HTTP 409"),
        ({"kind": "status", "status": 429}, 429, "http_4xx", "the receiver answered HTTP 429"),
        ({"kind": "status", "status": 500}, 500, "http_5xx", "the receiver answered HTTP 500"),
        ({"kind": "status", "status": 503}, 503, "http_5xx", "the receiver answered HTTP 503"),
        ({"kind": "status", "status": 599}, 599, "http_5xx", "the receiver answered HTTP 599"),
        ({"kind": "cdn_block"}, 403, "http_4xx", "the receiver answered HTTP 403"),
        ({"kind": "reset"}, None, "reset", "reset: the connection was closed before an answer came"),
        ({"kind": "reset_after"}, None, "reset", "reset: the connection was closed before an answer came"),
    ],
    ids=str,
)  # fmt: skip
async def test_anything_else_is_a_failure_that_is_told_and_tried_again(
    gateway: Gateway, fault: dict[str, Any], status_code: int | None, error_class: str, problem: str
) -> None:
    await gateway.receiver.fault(**fault)
    training = await sent(gateway)
    delivery = await only_delivery(gateway, training)
    assert (delivery["status"], delivery["finished_at"]) == ("pending", None)
    [attempt] = delivery["attempts"]
    assert (attempt["status_code"], attempt["error_class"]) == (status_code, error_class)
    assert await last_problem(gateway, training) == problem
    assert [receipt.name for receipt in await gateway.receiver.received()] == ["default"][: fault["kind"] != "reset"]
    gateway.advance(6)
    assert await gateway.deliver() == 1
    assert (await only_delivery(gateway, training))["status"] == "delivered"
    assert await last_problem(gateway, training) is None


async def test_where_nobody_listens_the_connection_is_refused(gateway: Gateway) -> None:
    training = await sent(gateway, url="http://127.0.0.1:1/hook")
    [attempt] = (await only_delivery(gateway, training))["attempts"]
    assert (attempt["status_code"], attempt["error_class"], attempt["excerpt"]) == (None, "refused", "")
    assert await last_problem(gateway, training) == (
        "refused: the connection was refused: nothing listens at that host and port"
    )


async def test_a_receiver_without_tls_is_a_tls_failure(gateway: Gateway) -> None:
    training = await sent(gateway, url=gateway.receiver.hook().replace("http://", "https://"))
    [attempt] = (await only_delivery(gateway, training))["attempts"]
    assert (attempt["status_code"], attempt["error_class"]) == (None, "tls")
    assert await last_problem(gateway, training) == "tls: the TLS certificate or handshake failed"
    assert await gateway.receiver.received() == []


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_a_receiver_that_takes_too_long_is_given_up(world: World, kind: str) -> None:
    await world.upstream.put_model()
    await world.receiver.fault(kind, seconds=60)
    async with world.gateway(GATEWAY_ATTEMPT_TIMEOUT=0.3) as gateway:
        training = await sent(gateway)
        delivery = await only_delivery(gateway, training)
        [attempt] = delivery["attempts"]
        assert (delivery["status"], attempt["status_code"], attempt["error_class"]) == ("pending", None, "timeout")
        assert await last_problem(gateway, training) == "timeout: no complete answer came in time"
        gateway.advance(6)
        assert await gateway.deliver() == 1
        first, second = await gateway.receiver.received()
        assert (first.id, first.body) == (second.id, second.body)


async def test_of_a_long_answer_only_the_beginning_is_kept(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500, body="a" * 100_000, content_type="text/plain")
    training = await sent(gateway)
    [attempt] = (await only_delivery(gateway, training))["attempts"]
    assert attempt["excerpt"] == "a" * 1024


async def test_an_answer_of_any_bytes_becomes_one_line_of_text(gateway: Gateway) -> None:
    await gateway.receiver.fault(
        "status", status=500, body="a\u0000b\r\nc\u001b[31m é \u202e", content_type="text/plain"
    )
    training = await sent(gateway)
    [attempt] = (await only_delivery(gateway, training))["attempts"]
    assert attempt["excerpt"] == "a b  c [31m é"
    await gateway.receiver.fault("garbage")
    gateway.advance(6)
    assert await gateway.deliver() == 1
    [_, garbage] = (await only_delivery(gateway, training))["attempts"]
    assert garbage["error_class"] is None
    assert garbage["excerpt"].isprintable()


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"GATEWAY_EXCERPTS": False}, False),
        ({"GATEWAY_MODE": "gateway", "GATEWAY_HOST": "0.0.0.0", "GATEWAY_CALLBACK_ALLOW": "127.0.0.1"}, False),
        (
            {
                "GATEWAY_MODE": "gateway",
                "GATEWAY_HOST": "0.0.0.0",
                "GATEWAY_CALLBACK_ALLOW": "127.0.0.1",
                "GATEWAY_EXCERPTS": True,
            },
            True,
        ),
    ],
)
async def test_what_a_receiver_answers_is_kept_for_those_who_asked_for_it(
    world: World, settings: dict[str, Any], kept: bool
) -> None:
    await world.upstream.put_model()
    await world.receiver.fault("status", status=500, body="of the inside", content_type="text/plain")
    async with world.gateway(**settings) as gateway:
        [attempt] = (await only_delivery(gateway, await sent(gateway)))["attempts"]
        assert (attempt["status_code"], attempt["excerpt"]) == (500, "of the inside" if kept else "")
