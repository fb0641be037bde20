"""A gateway's processes, one after the other, in a played world: what they share, and how one ends."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import traceback
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar, cast

from service.bootstrap import assemble
from service.components import Components
from service.crashpoints import CrashPoint, arm
from service.domain.errors import StorageUnavailable
from service.domain.secret import Secret
from service.domain.training import Seen
from service.outbound.exchange import Outbound
from service.photogpt.client import PhotoGPT as PhotoGPTClient
from service.photogpt.listing import Listed
from service.settings import Settings
from service.storage.database import Database
from service.surroundings import Surroundings, counter_of, guard_of, proxy_of
from service.telemetry.metrics import Metrics
from service.tenancy import Caller
from service.trainings.request import Outcome, TrainRequest
from service.trainings.sightings import Sighting
from service.webhooks.sender import Message, Sender
from tests.simulation import judge as figures
from tests.simulation.database import Crash, Disk, Handle
from tests.simulation.faults import Faults
from tests.simulation.judge import Judge
from tests.simulation.network import Line
from tests.simulation.photogpt import PhotoGPT, Reply
from tests.simulation.receiver import Receiver
from tests.simulation.virtual_time import VirtualClock, VirtualTimeLoop
from tests.support.gateway import settings_of
from tests.support.names import PublicNames

T = TypeVar("T")

UPSTREAM_TIMEOUT, ATTEMPT_TIMEOUT, LEASE = 5.0, 5.0, 20.0
EXPIRE_AFTER = 3600.0


class ProcessEndedError(Exception):
    """The connection to the gateway broke: its process is gone, or it is not up."""


class Process:
    """One life of the gateway: the real core, between the played database and network."""

    def __init__(self, world: World) -> None:
        self.handle = Handle(world.disk)
        self.lines = [world.line("photogpt"), world.line("photogpt", CrashPoint.TRIGGER_SENT), world.line("receiver")]
        reads, triggers, receivers = (cast("Outbound", line) for line in self.lines)
        photogpt = _Watched(world, reads=reads, triggers=triggers)
        database, metrics = Database(self.handle), Metrics()
        around = Surroundings(
            clock=world.clock,
            rng=random.Random(world.rng.getrandbits(32)),
            database=database,
            photogpt=photogpt,
            proxy=proxy_of(world.settings, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), PublicNames()),
            sender=_WatchedSender(world, receivers),
            guard=guard_of(world.settings, PublicNames()),
            metrics=metrics,
            calls=counter_of(world.settings, database, metrics, world.clock),
        )
        self.components: Components = assemble(world.settings, around)
        self.up = False
        self.tasks: set[asyncio.Task[Any]] = set()

    def die(self) -> None:
        """From now on nothing of this process has an effect."""
        self.handle.dead = True
        for line in self.lines:
            line.dead = True
        self.up = False


class World:
    def __init__(self, rng: random.Random, loop: VirtualTimeLoop, faults: Faults, **settings: Any) -> None:
        self.rng = rng
        self.faults = faults
        self.clock = VirtualClock(loop)
        self.disk = Disk(self.faults, self.rng)
        self.photogpt = PhotoGPT(self.faults, self.rng)
        self.receiver = Receiver(self.faults, self.rng)
        self.settings = _settings(**settings)
        least_gap = figures.LEAST_GAP if self.settings.poll_schedule else figures.POLL_INTERVAL
        self.judge = Judge(self.disk.raw, self.photogpt, self.receiver, least_gap)
        self.disk.on_commit = self.judge.after_commit
        self.photogpt.on_trigger = self.judge.trigger_arrives
        self.process: Process | None = None
        self.broken: list[str] = self.judge.violations
        # Tasks of the world itself; all others are a process's, and end with it.
        self.own: set[asyncio.Task[Any]] = set()
        loop.set_exception_handler(self._uncaught)
        arm(self._at_crash_point)

    def close(self) -> None:
        arm(None)

    def line(self, to: str, when_sent: CrashPoint | None = None) -> Line:
        timeout = UPSTREAM_TIMEOUT if to == "photogpt" else ATTEMPT_TIMEOUT
        handle = self._to_photogpt if to == "photogpt" else self._to_receiver
        return Line(handle, timeout=timeout, faults=self.faults, rng=self.rng, when_sent=when_sent)

    def play(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """A part of the world: it outlives processes, and its failure ends the run."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.own.add(task)
        task.add_done_callback(self._played)

    async def start(self) -> None:
        """A new process; tried again, as whoever runs it would, while its database is unavailable."""
        assert self.process is None
        process = self.process = Process(self)
        with suppress(ProcessEndedError, StorageUnavailable):
            await _run(process.components.start())
            process.up = True
            return
        self._bury(process)

    async def stop_in_order(self) -> None:
        """As on SIGTERM."""
        process = self.process
        if process is None or not process.up:
            return
        process.up = False
        with suppress(ProcessEndedError):
            await _run(process.components.drain())
        self._bury(process)

    def crash(self) -> None:
        """As kill -9 does, between two steps of whatever runs."""
        if self.process is not None:
            self.judge.excuses.crashes += 1
            self._end(self.process)

    def tick(self) -> None:
        if self.process is not None and self.process.up:
            self.process.components.lifecycle.tick()

    async def request(self, key: str, request: TrainRequest) -> Outcome:
        """A train request as the API makes it. Raises ProcessEndedError, and whatever the gateway refuses it with."""
        process = self.process
        if process is None or not process.up:
            raise ProcessEndedError
        process.components.lifecycle.refuse_while_draining()
        caller = process.components.tenancy.identify(key)
        hangs_up = self.rng.uniform(0, 3) if self.faults.strikes("caller hangs up") else None
        return await _run(process.components.trainings.intake.start(caller, request), timeout=hangs_up)

    async def cancel(self, key: str, training_id: str) -> None:
        await self.ask(key, lambda parts, caller: parts.trainings.cancellation.cancel(caller, training_id))

    async def look(self, key: str, model_id: str | None) -> None:
        """A caller's look through the proxy at a model, or at all. The answer takes a while; then we have seen it."""
        process = self.process
        if process is None or not process.up:
            return
        began = self.clock.now()
        await asyncio.sleep(self.rng.uniform(0, 1))
        status, _, body = self.photogpt.handle(f"/api/models/{model_id}" if model_id else "/api/models", key)
        await asyncio.sleep(self.rng.uniform(0, 1))
        if status == 200 and process is self.process and process.up:
            tenant_id = process.components.tenancy.identify(key).tenant_id
            sighting = Sighting(tenant_id, began, model_id, deletes=False, coding="", chunks=[body])
            process.components.trainings.sightings.notice(sighting)

    async def ask(self, key: str, what: Callable[[Components, Caller], Coroutine[Any, Any, T]]) -> T:
        """What this caller asks of the gateway. Raises ProcessEndedError, and what the gateway refuses it with."""
        process = self.process
        if process is None or not process.up:
            raise ProcessEndedError
        return await _run(what(process.components, process.components.tenancy.identify(key)))

    def _end(self, process: Process) -> None:
        process.die()
        self.process = None
        self.judge.process_ended()
        for task in asyncio.all_tasks() - self.own:
            task.cancel()
            task.add_done_callback(_retrieved)

    def _at_crash_point(self, _point: CrashPoint) -> None:
        process = self.process
        if process is None or process.handle.dead or not self.faults.strikes("crash at a point"):
            return
        self.judge.excuses.crashes += 1
        process.die()
        # This may be inside a commit, so the rest of the end comes when the loop is back in control.
        asyncio.get_running_loop().call_soon(self._bury, process)
        raise Crash

    def _bury(self, process: Process) -> None:
        if self.process is process:
            self._end(process)

    def _played(self, task: asyncio.Task[Any]) -> None:
        self.own.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.broken.append("".join(traceback.format_exception(error)))

    def _uncaught(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            self.broken.append(context["message"])
        elif not isinstance(error, Crash):
            self.broken.append("".join(traceback.format_exception(error)))

    def _to_photogpt(self, url: str, headers: Mapping[str, str], _body: bytes) -> Reply:
        return self.photogpt.handle(url, headers["authorization"].removeprefix("Bearer "))

    def _to_receiver(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return self.receiver.handle(url, headers["webhook-id"], body)


class _Watched(PhotoGPTClient):
    """The real client; the judge is told of each poll."""

    def __init__(self, world: World, *, reads: Outbound, triggers: Outbound) -> None:
        super().__init__("https://photogpt.example/api", reads=reads, triggers=triggers, clock=world.clock)
        self._judge = world.judge

    async def poll(self, key: Secret, model_id: str) -> Seen:
        self._judge.poll_begins(key.reveal(), model_id)
        try:
            return await super().poll(key, model_id)
        finally:
            self._judge.poll_ends(key.reveal())

    async def models(self, key: Secret) -> Listed:
        self._judge.sweep_begins(key.reveal())
        try:
            return await super().models(key)
        finally:
            self._judge.poll_ends(key.reveal())


class _WatchedSender(Sender):
    """The real sender; the judge is told of each POST, and of a success that the gateway has not heard of."""

    def __init__(self, world: World, outbound: Outbound) -> None:
        super().__init__(outbound=outbound, clock=world.clock)
        self._judge = world.judge

    async def send(self, url: str, message: Message) -> Any:
        webhook_id = message.webhook_id
        self._judge.post_begins(url, webhook_id, message.body)
        before = len(self._judge.receiver.receipts)
        try:
            outcome = await super().send(url, message)
        finally:
            self._judge.post_ends(url, webhook_id)
        arrived = self._judge.receiver.receipts[before:]
        heard = outcome.status_code is not None
        if not heard and any((one.url, one.webhook_id, one.success) == (url, webhook_id, True) for one in arrived):
            self._judge.excuses.lost_answers += 1
        return outcome


async def _run(work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
    """Run something of a process in a task of that process's own; ProcessEndedError when it never ends."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.wait([task], timeout=timeout)
    if not task.done() or task.cancelled() or isinstance(task.exception(), Crash):
        task.cancel()
        raise ProcessEndedError
    return task.result()


def _retrieved(task: asyncio.Task[Any]) -> None:
    with suppress(asyncio.CancelledError, Crash):
        task.exception()


def _settings(**changed: Any) -> Settings:
    usual = {
        "PHOTOGPT_BASE_URL": "https://photogpt.example/api",
        "DATABASE_URL": "sqlite:///:simulated:",
        "GATEWAY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        "GATEWAY_POLL_INTERVAL": figures.POLL_INTERVAL,
        "GATEWAY_LEASE": LEASE,
        "GATEWAY_UPSTREAM_TIMEOUT": UPSTREAM_TIMEOUT,
        "GATEWAY_ATTEMPT_TIMEOUT": ATTEMPT_TIMEOUT,
        "GATEWAY_OVERDUE_AFTER": 600.0,
        "GATEWAY_EXPIRE_AFTER": EXPIRE_AFTER,
        "GATEWAY_QUEUE_PAUSE": figures.QUEUE_PAUSE,
        "GATEWAY_QUEUE_EXPIRE_AFTER": 2 * EXPIRE_AFTER,
        "GATEWAY_RETRY_SCHEDULE": ",".join(str(step) for step in figures.SCHEDULE),
        "GATEWAY_POLLS_PER_SECOND": figures.POLLS_PER_SECOND,
        "GATEWAY_POLLS_PER_KEY": figures.POLLS_PER_KEY,
        "GATEWAY_POLLS_IN_FLIGHT": figures.SLOTS,
        "GATEWAY_DELIVERIES_IN_FLIGHT": figures.SLOTS,
    }
    return settings_of(**{**usual, **changed})


def hours(count: float) -> timedelta:
    return timedelta(hours=count)
