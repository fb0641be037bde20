"""The real gateway on SQLite, between a simulated PhotoGPT and a receiver on real sockets, on a clock moved by hand.

Nothing of ours is replaced. The two loops do not run by themselves unless asked to: a test says when due rows are
claimed and worked (`poll`, `deliver`), and moves the clock between. Every answer of the gateway is held against
`openapi/service.yaml`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator
from pydantic import AliasChoices
from sqlmodel import SQLModel, col, func, select
from standardwebhooks.webhooks import Webhook
from starlette.types import ASGIApp

from service.app import create_app
from service.bootstrap import build
from service.claimloop import ClaimLoop
from service.components import Components, running
from service.settings import Settings
from service.simulator.calls import CallLog
from service.simulator.catalogue import Catalogue
from service.simulator.faults import FaultBook
from service.simulator.photogpt import PhotoGPTOptions, create_photogpt
from service.simulator.receipts import Receipts
from service.simulator.receiver import ReceiverOptions, Secrets, create_receiver
from service.storage.database import Database
from service.storage.migrations import migrate
from service.storage.tables import Event
from tests.support.clock import FakeClock
from tests.support.names import PublicNames
from tests.support.server import serve
from tests.support.waiting import wait_until

Row = TypeVar("Row", bound=SQLModel)
Item = TypeVar("Item")

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY, OTHER_KEY = "pgpt-key-number-one", "pgpt-key-number-two"
MODEL = "model-1"
MASTER_KEY = base64.b64encode(hashlib.sha256(b"the master key of tests").digest()).decode()
SECRET = "whsec_" + base64.b64encode(b"a callback's very own secret 012").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"a secret of another receiver 012").decode()
_OPENAPI = Path(__file__).parents[2] / "openapi" / "service.yaml"


# --- the world around a gateway ---------------------------------------------------------------------------------------


class HeldClock:
    """The simulators' clock: the gateway's time, and whoever sleeps by it (`delay`, `hang`) does so until `release`."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def held(self) -> int:
        return len(self._sleepers)

    def now(self) -> datetime:
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        sleeper = (asyncio.get_running_loop(), asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    def release(self) -> None:
        for loop, wake in list(self._sleepers):
            loop.call_soon_threadsafe(wake.set)


class Simulator:
    """One of the two simulators, and its control interface."""

    def __init__(self, app: FastAPI, url: str, clock: HeldClock) -> None:
        self.url = url
        self.clock = clock
        self._control = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://simulator/_control")

    async def control(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._control.request(method, path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def fault(self, kind: str, **order: Any) -> None:
        await self.control("POST", "/faults", json={"kind": kind, **order})

    async def forget_faults(self) -> None:
        await self.control("DELETE", "/faults")

    async def close(self) -> None:
        self.clock.release()
        await self._control.aclose()


class Upstream(Simulator):
    """The simulated PhotoGPT."""

    @property
    def base_url(self) -> str:
        return f"{self.url}/api"

    async def put_model(self, model_id: str = MODEL, *, key: str = KEY, images: int = 15, **order: Any) -> None:
        await self.control("PUT", f"/models/{model_id}", json={"key": key, "images": images, **order})

    async def say(self, status: str, model_id: str = MODEL, *, key: str = KEY) -> None:
        """Let the model be in this status from now on."""
        await self.control("PUT", f"/models/{model_id}", json={"key": key, "status": status})

    async def fault_reading(self, kind: str, model_id: str = MODEL, **order: Any) -> None:
        await self.fault(kind, path=f"/models/{model_id}", **order)

    async def fault_trigger(self, kind: str, model_id: str = MODEL, **order: Any) -> None:
        await self.fault(kind, path=f"/models/{model_id}/train", **order)

    async def triggers(self) -> dict[str, int]:
        """How often each model was triggered, where PhotoGPT did start a training."""
        triggers: dict[str, int] = await self.control("GET", "/triggers")
        return triggers

    async def calls(self, path: str = ".*") -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = (await self.control("GET", "/calls", params={"path": path}))["calls"]
        return calls

    async def trigger_calls(self, model_id: str = MODEL) -> int:
        """How often the trigger was asked for, whatever came of it."""
        return len(await self.calls(f"/models/{model_id}/train"))


class Receiver(Simulator):
    def hook(self, name: str = "default") -> str:
        return f"{self.url}/hook/{name}"

    async def received(self, name: str | None = None) -> list[Receipt]:
        report = await self.control("GET", "/received", params={} if name is None else {"name": name})
        return [Receipt(**{field: receipt[field] for field in Receipt.FIELDS}) for receipt in report["received"]]

    async def expect_secret(self, secret: str, name: str = "default") -> None:
        """Verify what comes for `name` with this secret, by the official library and the real time."""
        await self.control("PUT", "/secrets", json={name: secret})


@dataclass(frozen=True)
class Receipt:
    """One webhook as the receiver got it."""

    FIELDS = ("name", "headers", "body", "verified", "answered")

    name: str
    headers: dict[str, str]
    body: str
    verified: bool | None
    answered: int | None

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        contract().check_event(event)
        return event

    @property
    def type(self) -> str:
        return str(self.event["type"])

    def signed_with(self, secret: str, at: datetime) -> bool:
        """Whether it is signed with `secret` alone, as the official library does at that time, beside our own key."""
        assert self.headers["webhook-timestamp"] == str(int(at.timestamp()))
        *by_secrets, by_key = self.headers["webhook-signature"].split(" ")
        assert by_key.startswith("v1a,")
        return by_secrets == [Webhook(secret).sign(self.id, at, self.body)]


# --- the gateway ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gateway:
    components: Components
    clock: FakeClock
    upstream: Upstream
    receiver: Receiver
    http: httpx.AsyncClient

    async def train(
        self, model_id: str = MODEL, *, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return await self.http.post("/v1/trainings", json={"model_id": model_id, **body}, headers=headers)

    @asynccontextmanager
    async def held_train(self, model_id: str = MODEL, **request: Any) -> AsyncIterator[asyncio.Task[httpx.Response]]:
        """A train request that waits for PhotoGPT's answer, which a `delay` holds back until `upstream.clock.release`.

        It is released at the latest when this ends.
        """
        task = asyncio.create_task(self.train(model_id, **request))
        await wait_until(lambda: task.done() or self.upstream.clock.held, what="PhotoGPT to hold back its answer")
        assert not task.done(), "it did not wait"
        try:
            yield task
        finally:
            self.upstream.clock.release()
            await asyncio.wait([task])

    async def started(self, model_id: str = MODEL, **body: Any) -> dict[str, Any]:
        """A training that was accepted just now."""
        answer = await self.train(model_id, **body)
        assert answer.status_code == 202, answer.text
        training: dict[str, Any] = answer.json()
        return training

    async def training(self, training_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/trainings/{training_id}")
        assert answer.status_code == 200, answer.text
        training: dict[str, Any] = answer.json()
        return training

    async def deliveries(self, training_id: str) -> list[dict[str, Any]]:
        """Oldest first."""
        answer = await self.http.get("/v1/deliveries", params={"training_id": training_id})
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["data"]))

    async def poll(self) -> int:
        """Claim and poll what is due now; how many that was."""
        return await drive(self.components.loops.polls)

    async def start_queued(self) -> int:
        """Claim the queues whose turn it is, and try the first of each; how many that was."""
        return await drive(self.components.loops.starts)

    async def deliver(self) -> int:
        """Attempt what is due now, and what becomes due by it; how many attempts that was."""
        made = 0
        while attempts := await drive(self.components.loops.deliveries):
            made += attempts
        return made

    def forget_claims(self) -> None:
        """As a new process does: what this one has claimed and not worked on is nobody's, until its lease ends."""
        self.components.trainings.poller._busy.clear()
        self.components.trainings.starter._busy.clear()
        self.components.webhooks.dispatcher._busy.clear()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def next_poll(self, training_id: str) -> None:
        """Let the time come for its next poll, and poll."""
        due = (await self.training(training_id))["next_poll_at"]
        assert due is not None, "it is not polled any more"
        # Shown times are cut to milliseconds.
        self.advance((datetime.fromisoformat(due) - self.clock.now()).total_seconds() + 0.001)
        assert await self.poll() > 0

    async def next_poll_is_none(self, training_id: str) -> None:
        """Its watch has ended: however long it takes, it is not polled again."""
        assert (await self.training(training_id))["next_poll_at"] is None
        self.advance(100_000)
        assert await self.poll() == 0

    async def events(self, training_id: str) -> list[dict[str, Any]]:
        """The bodies of a training's events, in order."""
        events = [event for event in await self.rows(Event) if event.training_id == training_id]
        return [json.loads(event.body) for event in sorted(events, key=lambda event: event.sequence)]

    async def event_types(self, training_id: str) -> list[str]:
        return [event["type"] for event in await self.events(training_id)]

    async def rows(self, table: type[Row]) -> Sequence[Row]:
        return await self.components.database.read(lambda unit: unit.session.exec(select(table)).all())

    async def count(self, table: type[SQLModel]) -> int:
        return await self.components.database.read(
            lambda unit: unit.session.exec(select(func.count()).select_from(table)).one()
        )

    async def row(self, table: type[Row], row_id: str) -> Row:
        """The row of that id; the tables that are asked for all have one."""
        id_column = col(table.__table__.c.id)  # type: ignore[attr-defined]  # SQLModel does not tell of it
        return await self.components.database.read(
            lambda unit: unit.session.exec(select(table).where(id_column == row_id)).one()
        )


async def stop_before_the_first_look(loops: Sequence[ClaimLoop[Any]]) -> None:
    """For loops that were started in this very step of the event loop. Not `stop` alone: it lets the others look."""
    for loop in loops:
        loop._stopping = True
    await asyncio.gather(*(loop.stop(0) for loop in loops))


async def drive(loop: ClaimLoop[Item]) -> int:
    """One pass of a loop by hand. Unlike the loop itself, this does not survive an exception."""
    claimed = (await loop._claim(100)).items
    await asyncio.gather(*(loop._work(item) for item in claimed))
    return len(claimed)


@dataclass(frozen=True)
class World:
    """What one or more gateways live in: a folder with a database, a clock, PhotoGPT and a receiver."""

    folder: Path
    clock: FakeClock
    upstream: Upstream
    receiver: Receiver

    @property
    def database(self) -> Path:
        return self.folder / "gateway.db"

    def settings(self, **variables: Any) -> Settings:
        given = {
            "PHOTOGPT_BASE_URL": self.upstream.base_url,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "GATEWAY_MASTER_KEY": MASTER_KEY,
            # A clock that stands still fills no bucket.
            "GATEWAY_POLLS_PER_SECOND": 10_000.0,
            "GATEWAY_POLLS_PER_KEY": 100,
            # A call for each model, unless a test is about sweeps.
            "GATEWAY_SWEEP": False,
            **variables,
        }
        return settings_of(**given)

    @asynccontextmanager
    async def gateway(self, *, loops: bool = False, seed: int = 1, **variables: Any) -> AsyncIterator[Gateway]:
        """A gateway that was started as the server starts it; without `loops` they are stopped before they look."""
        components = build_components(self.settings(**variables), self.clock, seed)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(components))
            if not loops:
                await stop_before_the_first_look(tuple(components.loops))
            app = stack.enter_context(self._app(components))
            http = await stack.enter_async_context(client(app))
            yield Gateway(components, self.clock, self.upstream, self.receiver, http)

    @contextmanager
    def _app(self, components: Components) -> Iterator[FastAPI]:
        """An application is dear to make and has no state but its components and middleware, so it is used again."""
        app = _idle_apps.pop() if _idle_apps else create_app()
        app.middleware_stack = None  # Starlette makes it anew at the first request
        app.state.components = components
        try:
            yield app
        finally:
            _idle_apps.append(app)


_idle_apps: list[FastAPI] = []


def client(app: ASGIApp, *, key: str | None = KEY, **options: Any) -> httpx.AsyncClient:
    """A caller with this key, whose every answer is held against the OpenAPI document."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, **options),
        base_url="http://gateway",
        headers={} if key is None else {"authorization": f"Bearer {key}"},
        event_hooks={"response": [contract().check]},
    )


def build_components(settings: Settings, clock: FakeClock, seed: int) -> Components:
    with pytest.MonkeyPatch.context() as patch:
        # Nothing here speaks TLS, and loading the machine's trust store would take most of a test's time.
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("SSL_CERT_DIR", os.devnull)
        return build(settings, clock, random.Random(seed), names=PublicNames())


@dataclass(frozen=True)
class Simulators:
    """Both simulators on their sockets. Making them takes longer than most tests do, so all tests share them."""

    clock: HeldClock
    photogpt: FastAPI
    photogpt_url: str
    receiver: FastAPI
    receiver_url: str

    def forget(self) -> None:
        """All models, calls, webhooks, secrets and faults: as if they were made just now."""
        for app in (self.photogpt, self.receiver):
            for value in _control_state(app):
                match value:
                    case Catalogue() | CallLog() | Receipts():
                        value.forget()
                    case FaultBook():
                        value.clear()
                    case Secrets():
                        value._verifiers.clear()
                    case _:
                        pass


def _control_state(app: FastAPI) -> Iterator[object]:
    """What the routes of a control interface work on; they have it in their closures alone."""
    for route in iter_route_contexts(app.routes):
        if route.endpoint is not None and str(route.path).startswith("/_control/"):
            yield from inspect.getclosurevars(route.endpoint).nonlocals.values()


@contextmanager
def running_simulators() -> Iterator[Simulators]:
    clock = HeldClock()
    photogpt = create_photogpt(PhotoGPTOptions(max_running=10_000), clock)
    receiver = create_receiver(ReceiverOptions(), clock)
    with serve(photogpt) as photogpt_url, serve(receiver) as receiver_url:
        yield Simulators(clock, photogpt, photogpt_url, receiver, receiver_url)


@asynccontextmanager
async def new_world(simulators: Simulators, template: Path, now: datetime = NOW) -> AsyncIterator[World]:
    held = simulators.clock
    held.clock = clock = FakeClock(now)
    simulators.forget()
    upstream = Upstream(simulators.photogpt, simulators.photogpt_url, held)
    receiver = Receiver(simulators.receiver, simulators.receiver_url, held)
    # Every commit waits for the disk, unless there is none.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="photogpt-webhooks-") as folder:
        world = World(Path(folder), clock, upstream, receiver)
        shutil.copy(template, world.database)
        try:
            yield world
        finally:
            await upstream.close()
            await receiver.close()


def migrated_database(folder: Path) -> Path:
    """An empty database with all its tables, to be copied."""
    path = folder / "template.db"
    asyncio.run(_migrate(path))
    return path


async def _migrate(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    await migrate(database)
    await database.close()


def settings_of(**variables: Any) -> Settings:
    """By the names of their environment variables; neither the environment nor a `.env` has a say."""
    given: dict[str, Any] = {"_env_file": None}
    for setting in Settings.model_fields.values():
        if isinstance(setting.validation_alias, AliasChoices):
            given[str(setting.validation_alias.choices[0])] = setting.default
    return Settings(**{**given, **variables})


# --- what the OpenAPI document says -----------------------------------------------------------------------------------

_PROBLEM = "application/problem+json"
# What any route may answer, whatever it is for, is described once for all and not at each.
_OF_ANY_ROUTE = {
    "not_acceptable", "misdirected_request", "cross_site_request",
    "malformed_json", "unsupported_media_type", "body_too_large", "request_timeout",
}  # fmt: skip


class Contract:
    """Holds what the gateway says against its own OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document: dict[str, Any] = _without_references(document, document)
        self._validators: dict[str, Draft202012Validator] = {}
        self._templates = {re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)): path for path in document["paths"]}

    async def check(self, answer: httpx.Response) -> None:
        """Raises unless the document declares this answer of this route, and its body is as declared."""
        await answer.aread()
        path, method, status = self._path(answer.request.url.path), answer.request.method.lower(), answer.status_code
        operation = self.document["paths"].get(path, {}).get(method)
        if operation is None:
            # An unknown route, a wrong method, or a page that no document describes.
            photogpts_own = path.startswith("/api/") and media_type_of(answer) != _PROBLEM
            if status >= 400 and method != "head" and not photogpts_own:
                self._check_problem(answer)
            return
        declared = operation["responses"].get(str(status))
        if declared is None and media_type_of(answer) == _PROBLEM and answer.json()["code"] in _OF_ANY_ROUTE:
            self._check_problem(answer)
            return
        assert declared is not None, f"{method} {path} does not declare {status}: {answer.text}"
        if "content" not in declared:
            return
        media_type = media_type_of(answer)
        assert list(declared["content"]) == [media_type], f"{method} {path} {status} is not declared as {media_type}"
        if media_type == _PROBLEM:
            self._check_problem(answer)
        self._validate(f"{method} {path} {status}", declared["content"][media_type]["schema"], answer.json())

    def check_event(self, event: Any) -> None:
        """Raises unless it is a webhook as the document describes it."""
        self._validate_component("EventOut", event)

    def _check_problem(self, answer: httpx.Response) -> None:
        assert answer.headers["content-type"] == _PROBLEM
        problem = answer.json()
        self._validate_component("Problem", problem)
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"urn:photogpt-webhooks:problem:{problem['code']}"
        assert re.fullmatch("[a-z_]+", problem["code"])
        assert problem["title"]
        assert problem["detail"]

    def _validate_component(self, name: str, value: Any) -> None:
        self._validate(name, self.document["components"]["schemas"][name], value)

    def _validate(self, name: str, schema: Any, value: Any) -> None:
        if name not in self._validators:
            self._validators[name] = Draft202012Validator(schema)
        self._validators[name].validate(value)

    def _path(self, path: str) -> str:
        return next((template for pattern, template in self._templates.items() if pattern.fullmatch(path)), path)


def headers_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """Without the request's own id, which is another each time."""
    return sorted((name, value) for name, value in answer.headers.items() if name != "x-request-id")


def media_type_of(answer: httpx.Response) -> str:
    content_type: str = answer.headers.get("content-type", "")
    return content_type.partition(";")[0]


@cache
def contract() -> Contract:
    return Contract(yaml.load(_OPENAPI.read_text(encoding="utf-8"), yaml.CSafeLoader))


def _without_references(value: Any, document: dict[str, Any]) -> Any:
    """`value` with what it refers to in place of each reference: none of ours is recursive, and this is quicker."""
    match value:
        case {"$ref": str(reference)}:
            found: Any = document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]
            return _without_references(found, document)
        case dict():
            return {name: _without_references(member, document) for name, member in value.items()}
        case list():
            return [_without_references(member, document) for member in value]
        case _:
            return value


# --- fixtures: each folder's conftest takes those it needs ------------------------------------------------------------


@pytest.fixture(scope="session")
def simulators() -> Iterator[Simulators]:
    with running_simulators() as simulators:
        yield simulators


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_database(tmp_path_factory.mktemp("template"))


@pytest.fixture
async def world(simulators: Simulators, template: Path) -> AsyncIterator[World]:
    async with new_world(simulators, template) as world:
        yield world


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[Gateway]:
    """With one model that may be trained; its callers bring their own keys."""
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        yield gateway
