"""A gateway whose operator's page is asked as a browser asks: without login on loopback, and with an admin token."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.app import create_app
from tests.ops.visitor import TOKEN, Visitor
from tests.support import gateway as support
from tests.support.gateway import World

simulators = support.simulators
template = support.template
world = support.world


@asynccontextmanager
async def visiting(world: World, **settings: Any) -> AsyncIterator[Visitor]:
    await world.upstream.put_model()
    async with world.gateway(**settings) as gateway:
        app = create_app(gateway.components, random.Random(5))
        transport = httpx.ASGITransport(app=app)
        headers = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
            yield Visitor(gateway, app, http)


@pytest.fixture
async def visitor(world: World) -> AsyncIterator[Visitor]:
    """Of a sidecar on loopback: nobody logs in."""
    async with visiting(world) as visitor:
        yield visitor


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Visitor]:
    """Of a gateway with an admin token, who has not logged in."""
    async with visiting(world, GATEWAY_MODE="gateway", GATEWAY_ADMIN_TOKEN=TOKEN) as visitor:
        yield visitor
