"""The receiver judges webhooks as the official library does, remembers all of them, and misbehaves on command."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks.webhooks import Webhook

from service.simulator.clock import SystemClock
from service.simulator.receiver import ReceiverOptions, create_receiver
from tests.simulator.driver import client
from tests.simulator.fake_clock import FakeClock
from tests.support.server import serve

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes, or").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret, 24 bytes").decode()
BODY = '{"type": "training.ready"}'
CUT = (httpx.ReadError, httpx.RemoteProtocolError)


def signed(
    body: str = BODY, *, secret: str = SECRET, message_id: str = "msg_1", age: timedelta = timedelta()
) -> dict[str, Any]:
    """The arguments of a request with a good signature; by the real time, as the library that judges it."""
    sent_at = SystemClock().now() - age
    return {
        "content": body,
        "headers": {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, sent_at, body),
        },
    }


@dataclass(frozen=True)
class Receiver:
    app: FastAPI
    clock: FakeClock
    callers: httpx.AsyncClient
    control: httpx.AsyncClient

    @classmethod
    def start(cls, secret: str | None = None) -> Receiver:
        clock = FakeClock()
        app = create_receiver(ReceiverOptions(secret), clock)
        return cls(app, clock, client(app, ""), client(app, "/_control"))

    async def post(self, webhook: dict[str, Any], name: str | None = None) -> int:
        return (await self.callers.post(f"/hook/{name}" if name else "/hook", **webhook)).status_code

    async def put_secrets(self, **secrets: str | None) -> int:
        return (await self.control.put("/secrets", json=secrets)).status_code

    async def order(self, kind: str, **fault: object) -> None:
        assert (await self.control.post("/faults", json={"kind": kind, **fault})).status_code == 200

    async def received(self, **params: str | int) -> list[dict[str, Any]]:
        report: dict[str, Any] = (await self.control.get("/received", params=params)).json()
        received: list[dict[str, Any]] = report["received"]
        return received


@pytest.fixture
def receiver() -> Receiver:
    return Receiver.start(SECRET)


async def test_remembers_a_verified_webhook(receiver: Receiver) -> None:
    webhook = signed()
    assert await receiver.post(webhook) == 204
    (received,) = await receiver.received()
    sent = webhook["headers"]
    assert received.pop("headers").items() >= sent.items()
    assert received == {
        "name": "default",
        "webhook_id": "msg_1",
        "webhook_timestamp": sent["webhook-timestamp"],
        "webhook_signature": sent["webhook-signature"],
        "body": BODY,
        "verified": True,
        "problem": None,
        "received_at": "2030-01-01T00:00:00.000Z",
        "answered": 204,
    }


async def test_takes_one_good_signature_among_several(receiver: Receiver) -> None:
    webhook = signed()
    webhook["headers"]["webhook-signature"] = "v1a,AAAA v1,AAAA " + webhook["headers"]["webhook-signature"]
    assert await receiver.post(webhook) == 204


def _bad_webhooks() -> Iterator[dict[str, Any]]:
    yield {**signed(), "content": BODY + " "}
    yield {**signed(), "content": b"\xff\xfe"}
    yield {"content": BODY}
    yield signed(secret=OTHER_SECRET)
    yield signed(age=timedelta(minutes=6))
    yield signed(age=timedelta(minutes=-6))
    for header in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        for wrong in ({}, {header: ""}, {header: "x"}, {header: "v1,x"}, {header: "nan"}):
            webhook = signed()
            del webhook["headers"][header]
            webhook["headers"] |= wrong
            yield webhook


async def test_refuses_what_does_not_verify_and_remembers_it_too(receiver: Receiver) -> None:
    answers = [await receiver.post(webhook) for webhook in _bad_webhooks()]
    assert answers == [401] * 21
    received = await receiver.received(verified="false")
    assert len(received) == 21
    assert {(one["verified"], one["answered"]) for one in received} == {(False, 401)}
    assert all(one["problem"] for one in received)


async def test_judges_nothing_without_a_secret() -> None:
    receiver = Receiver.start()
    assert await receiver.post({"content": b"anything \xff"}, "nobody") == 204
    (received,) = await receiver.received(verified="null")
    assert (received["verified"], received["problem"], received["name"]) == (None, None, "nobody")
    assert received["body"] == "anything �"


async def test_each_name_may_have_a_secret_of_its_own(receiver: Receiver) -> None:
    assert await receiver.put_secrets(shop=OTHER_SECRET) == 200
    assert await receiver.post(signed(secret=OTHER_SECRET), "shop") == 204
    assert await receiver.post(signed(), "shop") == 401
    assert await receiver.post(signed(), "elsewhere") == 204
    assert await receiver.put_secrets(shop=None) == 200
    assert await receiver.post(signed(), "shop") == 204


async def test_the_secret_can_be_changed_or_forgotten(receiver: Receiver) -> None:
    await receiver.put_secrets(default=OTHER_SECRET)
    assert [await receiver.post(signed(secret=secret)) for secret in (SECRET, OTHER_SECRET)] == [401, 204]
    await receiver.put_secrets(default=None)
    assert await receiver.post(signed()) == 204
    assert [received["verified"] for received in await receiver.received()] == [False, True, None]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_x"])
async def test_refuses_a_secret_that_is_none_and_keeps_the_others(receiver: Receiver, secret: str) -> None:
    assert await receiver.put_secrets(default=secret) == 400
    assert await receiver.post(signed()) == 204


async def test_lists_the_oldest_first_and_counts_all(receiver: Receiver) -> None:
    for number in range(4):
        await receiver.post(signed(message_id=f"msg_{number}"), "a" if number % 2 else "b")
    assert [received["webhook_id"] for received in await receiver.received()] == ["msg_0", "msg_1", "msg_2", "msg_3"]
    assert [received["webhook_id"] for received in await receiver.received(name="a")] == ["msg_1", "msg_3"]
    assert [received["webhook_id"] for received in await receiver.received(limit=1)] == ["msg_3"]
    assert (await receiver.control.get("/received", params={"limit": 1})).json()["count"] == 4
    assert await receiver.received(verified="false") == []
    await receiver.control.delete("/received")
    assert await receiver.received() == []


async def test_all_attempts_can_be_compared(receiver: Receiver) -> None:
    await receiver.order("status", status=503, headers={"Retry-After": "1"})
    await receiver.order("redirect", location="http://127.0.0.1:1/")
    webhook = signed()
    answers = [await receiver.callers.post("/hook", **webhook) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 302, 204]
    assert answers[0].headers["retry-after"] == "1"
    received = await receiver.received()
    assert [attempt.pop("answered") for attempt in received] == [503, 302, 204]
    assert received[0] == received[1] == received[2]
    assert received[0]["verified"] is True


async def test_a_fault_does_not_hide_a_bad_signature(receiver: Receiver) -> None:
    await receiver.order("status", status=200)
    assert await receiver.post({"content": BODY}) == 200
    (received,) = await receiver.received()
    assert (received["verified"], received["answered"]) == (False, 200)


async def test_a_fault_may_be_for_some_names_only(receiver: Receiver) -> None:
    await receiver.order("status", status=500, name="a|default", times=None, skip=1)
    assert [await receiver.post(signed(), name) for name in ("a", "a", "ab", None)] == [204, 500, 204, 500]
    await receiver.control.delete("/faults")
    assert await receiver.post(signed(), "a") == 204


async def test_hang_and_reset_after_remember_and_reset_does_not(receiver: Receiver) -> None:
    for kind, fault in (("hang", {"seconds": 60}), ("reset_after", {}), ("reset", {})):
        await receiver.order(kind, **fault)
        with pytest.raises(ConnectionError):
            await receiver.post(signed(message_id=kind))
    assert receiver.clock.slept == [60]
    assert [(received["webhook_id"], received["answered"]) for received in await receiver.received()] == [
        ("hang", None),
        ("reset_after", None),
    ]


async def test_delay_answers_late_and_remembers_once(receiver: Receiver) -> None:
    await receiver.order("delay", seconds=5)
    assert await receiver.post(signed()) == 204
    assert receiver.clock.slept == [5]
    assert [received["answered"] for received in await receiver.received()] == [204]


async def test_other_routes_are_none(receiver: Receiver) -> None:
    await receiver.order("status", status=500)
    for path, status in (("/", 404), ("/hooks", 404), ("/_control/healthz", 200)):
        async with client(receiver.app, "") as elsewhere:
            assert (await elsewhere.get(path)).status_code == status
    assert await receiver.received() == []


@pytest.fixture
def url() -> Iterator[str]:
    with serve(create_receiver(ReceiverOptions(SECRET), FakeClock())) as url:
        yield url


def test_misbehaves_over_a_socket(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as http:
        for kind in ("reset", "reset_after", "hang"):
            http.post("/_control/faults", json={"kind": kind} | ({"seconds": 1} if kind == "hang" else {}))
            with pytest.raises(CUT):
                http.post("/hook", **signed(message_id=kind))
        http.post("/_control/faults", json={"kind": "drip", "seconds": 1})
        with http.stream("POST", "/hook/slow", **signed(message_id="drip")) as answer:
            assert [part for part, _ in zip(answer.iter_bytes(1), range(50), strict=False)] == [b"."] * 50
        received = http.get("/_control/received").json()["received"]
        assert [(one["webhook_id"], one["verified"], one["answered"]) for one in received] == [
            ("reset_after", True, None),
            ("hang", True, None),
            ("drip", True, 200),
        ]
