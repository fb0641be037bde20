"""Webhook endpoints of the gateway under test: subscribing, and making things happen that they hear of."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import OTHER_KEY, Gateway, Receipt

PATH = "/v1/webhook-endpoints"
ABSENT = "whe_01kb2000000000000000000000"
THEIRS = {"authorization": f"Bearer {OTHER_KEY}"}


async def subscribed(
    gateway: Gateway, name: str = "default", *, headers_of_request: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """A new endpoint, with its secret, at the receiver's hook of that name."""
    body = {"url": gateway.receiver.hook(name), **fields}
    answer = await gateway.http.post(PATH, json=body, headers=headers_of_request)
    assert answer.status_code == 201, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


async def endpoint_now(gateway: Gateway, endpoint: dict[str, Any]) -> dict[str, Any]:
    answer = await gateway.http.get(f"{PATH}/{endpoint['id']}")
    assert answer.status_code == 200, answer.text
    now: dict[str, Any] = answer.json()
    return now


async def changed(gateway: Gateway, endpoint: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await gateway.http.patch(f"{PATH}/{endpoint['id']}", json=fields)
    assert answer.status_code == 200, answer.text
    now: dict[str, Any] = answer.json()
    return now


async def rotated(gateway: Gateway, endpoint: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The endpoint with its new secret."""
    answer = await gateway.http.post(f"{PATH}/{endpoint['id']}/rotate-secret", json=body)
    assert answer.status_code == 200, answer.text
    now: dict[str, Any] = answer.json()
    return now


async def deleted(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    answer = await gateway.http.delete(f"{PATH}/{endpoint['id']}")
    assert (answer.status_code, answer.content) == (204, b"")


async def another_training(gateway: Gateway, model_id: str, **body: Any) -> dict[str, Any]:
    """A training of a model of its own, which was accepted just now: endpoints may hear `training.started`."""
    await gateway.upstream.put_model(model_id)
    return await gateway.started(model_id, **body)


async def cancelled(gateway: Gateway, training: dict[str, Any]) -> None:
    """An end that needs no poll: endpoints hear `training.cancelled` by default."""
    assert (await gateway.http.delete(f"/v1/trainings/{training['id']}")).status_code == 200


async def deliveries_to(gateway: Gateway, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    answer = await gateway.http.get("/v1/deliveries", params={"endpoint_id": endpoint["id"]})
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["data"]))


async def statuses(gateway: Gateway, endpoint: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the deliveries to it, by the time of their events."""
    return [(delivery["event_type"], delivery["status"]) for delivery in await deliveries_to(gateway, endpoint)]


async def types_at(gateway: Gateway, name: str) -> list[str]:
    """What the receiver's hook of that name has heard, in order. `Receipt.type` is for events of trainings alone."""
    return [type_of(receipt) for receipt in await gateway.receiver.received(name)]


def type_of(receipt: Receipt) -> str:
    return receipt.body.split('"', 4)[3]
