"""A receiver that is down for three days while events come: all arrive once, and its return is no storm.

The real storage on SQLite in memory, the real dispatcher, hosts and loops, on virtual time; the receiver is played. A
sample for the suite; `--outage-events` gives the large figure.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, cast

import pytest

from service.bootstrap import assemble
from service.components import Components
from service.domain.delivery import DeliveryStatus, ErrorClass
from service.outbound.exchange import Answer, NoAnswer, Outbound
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.surroundings import Surroundings, counter_of, guard_of, proxy_of
from service.telemetry.metrics import Metrics
from service.webhooks.sender import Sender
from tests.simulation.database import Disk, Handle
from tests.simulation.faults import Faults
from tests.simulation.virtual_time import VirtualClock, VirtualTimeLoop
from tests.support.gateway import MASTER_KEY, settings_of
from tests.support.names import PublicNames
from tests.webhooks.ready_events import becomes_ready, subscribe

HOUR = 3600.0
OUTAGE = 72 * HOUR
ATTEMPT_TIMEOUT = 15.0
# Ticks of a second, at which hardly anything may start, would take most of the run; a late tick loses nothing. In the
# large figure they are as far apart as probes.
TICK, TICK_OF_MANY, MANY = 600.0, 30.0, 5000

Down = Literal["refused", "timeout", "503", "500"]


@dataclass
class PlayedReceiver:
    """In place of `service.outbound.Outbound`: it is down in one way or takes everything, and counts."""

    clock: VirtualClock
    rng: random.Random
    down: Down | None = None
    in_flight: int = 0
    attempts_while_down: int = 0
    most_while_down: int = 0
    most_recovering: int = 0
    most_recovered: int = 0
    arrived: Counter[str] = field(default_factory=Counter)
    last_arrival: float = 0.0

    async def send(self, _method: str, _url: str, headers: Mapping[str, str], _body: bytes = b"") -> Answer:
        started = self.clock.monotonic()
        self.in_flight += 1
        self._note()
        try:
            await self.clock.sleep(self.rng.uniform(0.02, 0.2))
            answer = await self._answer(started)
        finally:
            self.in_flight -= 1
        if answer == 204:
            self.arrived[headers["webhook-id"]] += 1
            self.last_arrival = self.clock.monotonic()
        return Answer(answer, {}, b"", complete=True, duration=self._since(started))

    async def close(self) -> None: ...

    async def _answer(self, started: float) -> int:
        match self.down:
            case "refused":
                raise NoAnswer(ErrorClass.REFUSED, sent=False, duration=self._since(started))
            case "timeout":
                await self.clock.sleep(ATTEMPT_TIMEOUT)
                raise NoAnswer(ErrorClass.TIMEOUT, sent=True, duration=self._since(started))
            case None:
                return 204
            case status:
                return int(status)

    def _note(self) -> None:
        if self.down is not None:
            self.attempts_while_down += 1
            self.most_while_down = max(self.most_while_down, self.in_flight)
        elif len(self.arrived) < 8:
            self.most_recovering = max(self.most_recovering, self.in_flight)
        else:
            self.most_recovered = max(self.most_recovered, self.in_flight)

    def _since(self, started: float) -> timedelta:
        return timedelta(seconds=self.clock.monotonic() - started)


@dataclass(frozen=True)
class Outcome:
    receiver: PlayedReceiver
    statuses: Counter[str]
    most_attempts: int
    recovered_after: float

    def __str__(self) -> str:
        receiver = self.receiver
        return (
            f"{len(receiver.arrived)} events: {receiver.attempts_while_down} attempts while it was down, at most "
            f"{self.most_attempts} of one delivery; in flight at most {receiver.most_while_down} while down, "
            f"{receiver.most_recovering} at recovery, {receiver.most_recovered} after; the last arrived "
            f"{self.recovered_after:.0f} s after its return"
        )


def play(events: int, down: Down) -> Outcome:
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_play(VirtualClock(loop), events, down))


async def _play(clock: VirtualClock, events: int, down: Down) -> Outcome:
    rng = random.Random(events)
    faults = Faults(rng)
    faults.on = False
    receiver = PlayedReceiver(clock, rng, down)
    components = _assembled(clock, rng, Handle(Disk(faults, rng)), receiver)
    await components.keyring.unlock(components.database, clock)
    endpoint = await subscribe(components.database, components.keyring, "https://receiver.example/hook", name="down")
    await components.start()
    tick = TICK if events < MANY else TICK_OF_MANY
    happened = 0
    for ticks in range(1, int(OUTAGE / tick) + 1):
        await clock.sleep(tick)
        while happened < events * ticks * tick / OUTAGE:
            await components.database.transaction(lambda unit: becomes_ready(unit, endpoint, clock.now(), rng))
            happened += 1
        components.loops.deliveries.wake()
        if ticks % (HOUR // tick) == 0:
            components.lifecycle.tick()
    receiver.down = None
    returned_at = clock.monotonic()
    # What its schedule puts off is due within a day, and a fifth more.
    while len(receiver.arrived) < events and clock.monotonic() < returned_at + 30 * HOUR:
        components.loops.deliveries.wake()
        await clock.sleep(min(HOUR, max(1.0, await _until_due(components.database, clock))))
    await components.drain()
    statuses, most = await components.database.read(_what_became)
    return Outcome(receiver, statuses, most, receiver.last_arrival - returned_at)


def _assembled(clock: VirtualClock, rng: random.Random, handle: Handle, receiver: PlayedReceiver) -> Components:
    outbound = cast("Outbound", receiver)
    photogpt = PhotoGPT("https://photogpt.example/api", reads=outbound, triggers=outbound, clock=clock)
    settings = settings_of(
        PHOTOGPT_BASE_URL="https://photogpt.example/api",
        DATABASE_URL="sqlite:///:simulated:",
        GATEWAY_MASTER_KEY=MASTER_KEY,
        GATEWAY_ATTEMPT_TIMEOUT=ATTEMPT_TIMEOUT,
    )
    sender = Sender(outbound=outbound, clock=clock)
    guard = guard_of(settings, PublicNames())
    proxy = proxy_of(settings, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), PublicNames())
    database, metrics = Database(handle), Metrics()
    calls = counter_of(settings, database, metrics, clock)
    return assemble(settings, Surroundings(clock, rng, database, photogpt, proxy, sender, guard, metrics, calls))


async def _until_due(database: Database, clock: VirtualClock) -> float:
    due = await database.read(lambda unit: unit.outbox.oldest_due())
    return 0.0 if due is None else (due - clock.now()).total_seconds()


def _what_became(unit: UnitOfWork) -> tuple[Counter[str], int]:
    rows = unit.session.connection().exec_driver_sql("SELECT status, attempts_started FROM deliveries").all()
    return Counter(str(status) for status, _ in rows), max(started for _, started in rows)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("down", "share"), [("refused", 1.0), ("timeout", 0.1), ("503", 0.1), ("500", 0.05)], ids=str)
def test_everything_arrives_once_and_four_at_once_when_it_returns(
    pytestconfig: pytest.Config, down: Down, share: float
) -> None:
    events = int(pytestconfig.getoption("--outage-events", default=200) * share)
    outcome = play(events, down)
    sys.stdout.write(f"\n{down}: {outcome}\n")
    receiver = outcome.receiver
    assert receiver.attempts_while_down >= 10
    assert outcome.statuses == {DeliveryStatus.DELIVERED: events}
    assert Counter(receiver.arrived.values()) == {1: events}
    assert receiver.most_recovering <= 4
    assert receiver.most_recovered <= 8
