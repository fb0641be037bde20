"""Two tenants of one gateway, each with one of everything, and the routes that one may ask for the other's things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx

from service.app import create_app
from tests.support.endpoints import PATH, deliveries_to, subscribed
from tests.support.gateway import KEY, OTHER_KEY, Gateway

MARK = "of-the-first-tenant"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    names: Mapping[str, list[str]]
    has_body: bool

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def operations() -> list[Operation]:
    """All that are described, by the place of their parameters: `path`, `query`, `header`."""
    found = []
    for path, methods in create_app().openapi()["paths"].items():
        for method, operation in methods.items():
            names: dict[str, list[str]] = {"path": [], "query": [], "header": []}
            for parameter in operation.get("parameters", []):
                names[parameter["in"]].append(parameter["name"])
            found.append(Operation(method, path, names, "requestBody" in operation))
    return found


@dataclass
class Things:
    """Of one tenant, by kind; an id of each kind, and whatever else would give it away."""

    key: str
    ids: dict[str, str] = field(default_factory=dict)
    all_ids: set[str] = field(default_factory=set)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


async def made(gateway: Gateway, key: str, mark: str) -> Things:
    """A training with a callback, an endpoint, an event, deliveries, a recovery; the mark is in all that has text."""
    things = Things(key)
    gateway.http.headers.update(things.headers)
    endpoint = await subscribed(gateway, mark, description=mark, metadata={"mark": mark}, events=["training.started"])
    model_id = f"model-{mark}"
    await gateway.upstream.put_model(model_id, key=key)
    callback = {"url": gateway.receiver.hook(mark), "events": ["training.started"]}
    training = await gateway.started(model_id, callback=callback, metadata={"mark": mark})
    [delivery] = await deliveries_to(gateway, endpoint)
    assert await gateway.deliver() == 2
    recovery = (
        await gateway.http.post(f"{PATH}/{endpoint['id']}/recover", json={"since": "2026-11-20T00:00:00Z"})
    ).json()
    [started] = (await gateway.http.get("/v1/events")).json()["data"]
    things.ids = {
        "trn": training["id"],
        "whe": endpoint["id"],
        "evt": started["id"],
        "dlv": delivery["id"],
        "rec": recovery["id"],
        "model": model_id,
    }
    things.all_ids = {*things.ids.values(), mark}
    return things


@dataclass(frozen=True)
class Two:
    gateway: Gateway
    first: Things
    second: Things

    async def ask(self, things: Things, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {**things.headers, **request.pop("headers", {})}
        return await self.gateway.http.request(method, path, headers=headers, **request)


async def two_tenants(gateway: Gateway) -> Two:
    first = await made(gateway, KEY, MARK)
    gateway.advance(1)
    second = await made(gateway, OTHER_KEY, "of-the-second-tenant")
    gateway.http.headers.pop("authorization")
    return Two(gateway, first, second)
