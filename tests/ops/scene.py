"""An afternoon of a gateway, with everything that an operator's page has to show, on a clock that is moved by hand.

Nothing is made up: trainings were requested, polled and delivered by the real gateway, between the simulated PhotoGPT
and the receiver on real sockets. The page is served on a socket, too, for a real browser.
"""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import pytest

from service.app import create_app
from service.bootstrap import build
from service.components import Components, running
from service.domain.addresses import Address
from tests.support.clock import FakeClock
from tests.support.gateway import KEY, OTHER_KEY, World, drive, stop_before_the_first_look
from tests.support.streams import served

_MINUTE = 60.0
_ENDED = 46
_BAD_KEY = "pgpt-key-number-three"
_HOSTS = ("hooks.portraits.example", "api.avatars.example", "crm.headshots.example", "old.weddings.example")


class Names:
    """All on this machine, but for one that nobody knows; and a lookup takes some time, as everything does."""

    def __init__(self, clock: FakeClock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng

    async def addresses(self, host: str, port: int, *, timeout: float | None) -> list[Address]:
        self._clock.advance(self._rng.lognormvariate(-2.6, 0.7))
        if host == "hooks.typo.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [ip_address("127.0.0.1")]


@dataclass
class Scene:
    """`url` is the page's; ids by what they are an example of."""

    world: World
    components: Components
    http: httpx.AsyncClient
    url: str
    ids: dict[str, str] = field(default_factory=dict)

    def hook(self, host: str, name: str) -> str:
        return f"http://{host}:{urlsplit(self.world.receiver.url).port}/hook/{name}"

    async def train(self, model_id: str, hook: str | None = None, *, minutes: float = 22, key: str = KEY) -> str:
        await self.world.upstream.put_model(model_id, key=key, duration_minutes=minutes)
        body: dict[str, object] = {"model_id": model_id, "metadata": {"order": f"A-{len(self.ids) + 4100}"}}
        if hook:
            body["callback_url"] = hook
        return await self.ask(body, key)

    async def ask(self, body: Mapping[str, object], key: str = KEY) -> str:
        answer = await self.http.post("/v1/trainings", json=body, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code in {200, 202}, answer.text
        training_id: str = answer.json()["id"]
        return training_id

    async def pass_time(self, minutes: float) -> None:
        """In half minutes, each with what is due in it."""
        loops = self.components.loops
        for _ in range(round(minutes * 2)):
            self.world.clock.advance(_MINUTE / 2)
            await drive(loops.polls)
            while await drive(loops.deliveries):
                pass
        await self.components.calls.save()


@asynccontextmanager
async def a_scene(world: World) -> AsyncIterator[Scene]:
    rng = random.Random(7)
    port = urlsplit(world.receiver.url).port
    allowed = ",".join([*(f"{host}:{port}" for host in _HOSTS), "hooks.typo.example", "127.0.0.1"])
    settings = world.settings(POLL_SCHEDULE="fine", GATEWAY_SWEEP=True, GATEWAY_CALLBACK_ALLOW=allowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", "/dev/null")
        components = build(settings, world.clock, rng, names=Names(world.clock, rng))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(components))
        await stop_before_the_first_look(tuple(components.loops))
        app = create_app(components, rng)
        transport = httpx.ASGITransport(app=app)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1"))
        url = await stack.enter_async_context(served(app))
        stack.callback(components.waiters.close)
        components.lifecycle.tick()
        yield Scene(world, components, http, url)


async def play(scene: Scene) -> None:
    """The afternoon, up to a moment at which there is one of everything."""
    rng = random.Random(11)
    receiver, upstream = scene.world.receiver, scene.world.upstream
    good, good_too, paused, gone = _HOSTS
    for number in range(_ENDED):
        key = OTHER_KEY if number % 3 == 2 else KEY
        host = good_too if key == OTHER_KEY else good
        await scene.train(f"portrait-{number + 1:03d}", scene.hook(host, "ok"), minutes=rng.gauss(22.5, 1.6), key=key)
        await scene.pass_time(rng.uniform(1, 5))
    await scene.pass_time(30)

    endpoint = await scene.http.post(
        "/v1/webhook-endpoints",
        json={"url": scene.hook(paused, "crm") + "?token=s3cret", "description": "The CRM", "headers": {"x-team": "9"}},
        headers={"authorization": f"Bearer {OTHER_KEY}"},
    )
    assert endpoint.status_code == 201, endpoint.text
    scene.ids["endpoint"] = endpoint.json()["id"]

    await receiver.fault("status", name="avatars", status=500, body='{"error": "no space left on device"}', times=1_000)
    await receiver.fault("status", name="gone", status=410, body="", times=1_000)
    await receiver.fault("status", name="moved", status=301, body="", times=1_000)
    scene.ids["overdue"] = await scene.train("avatar-pro-204", scene.hook(good, "ok"), minutes=400)
    await scene.pass_time(6)
    scene.ids["suspended"] = await scene.train("studio-4", scene.hook(good, "ok"), minutes=60, key=_BAD_KEY)
    await upstream.fault_reading("status", "studio-4", status=401, times=1_000)
    await scene.pass_time(7)
    scene.ids["failing"] = await scene.train("avatar-max-17", scene.hook(good_too, "avatars"), minutes=20)
    await scene.train("avatar-max-18", scene.hook(good_too, "avatars"), minutes=21)
    await scene.train("wedding-9", scene.hook(gone, "gone"), minutes=20)
    await scene.train("wedding-10", scene.hook(gone, "moved"), minutes=20)
    scene.ids["unreachable"] = await scene.train("headshot-71", "http://127.0.0.1:9/hook", minutes=20.5)
    await scene.train("headshot-72", "https://hooks.typo.example/photogpt", minutes=20)
    await scene.train("headshot-70", scene.hook(good_too, "ok"), minutes=20, key=OTHER_KEY)
    changed = await scene.http.patch(
        f"/v1/webhook-endpoints/{scene.ids['endpoint']}",
        json={"status": "paused"},
        headers={"authorization": f"Bearer {OTHER_KEY}"},
    )
    assert changed.status_code == 200, changed.text
    await scene.pass_time(6)
    for number, minutes in enumerate((3, 4, 2, 5, 4)):
        await scene.train(f"portrait-{number + 61:03d}", scene.hook(good, "ok"), minutes=30 - number)
        await scene.pass_time(minutes)
    for number in range(2):
        model = f"bridal-{number + 31}"
        await upstream.put_model(model)
        await upstream.fault_trigger("status", model, status=429, times=1_000)
        body = {"model_id": model, "callback_url": scene.hook(good, "ok"), "on_capacity": "queue"}
        scene.ids["queued"] = await scene.ask(body)
    await scene.train("portrait-066", scene.hook(good_too, "ok"), minutes=22, key=OTHER_KEY)
    await scene.pass_time(1.5)
    failing = scene.ids["failing"]
    database = scene.components.database
    scene.ids["delivery"] = await database.read(lambda unit: unit.overview.deliveries_of(failing)[0].id)
    await scene.components.heartbeat.beat()
    scene.components.lifecycle.tick()
    for loop in scene.components.loops:
        # They were stopped, and driven by hand.
        loop.last_pass = None
