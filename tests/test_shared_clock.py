"""The clock that replicas share: their database's, however their own are set."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from service.clock import SharedClock
from service.heartbeat import BEAT_SECONDS, Heartbeat
from service.storage.database import Database
from service.storage.migrations import migrate
from service.surroundings import surroundings_of
from tests.support.clock import START, FakeClock
from tests.support.gateway import settings_of
from tests.support.names import PublicNames
from tests.support.rows import a_tenant, a_training, store

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=60)


class TestTelling:
    def test_before_it_was_told_anything_it_goes_by_its_own(self) -> None:
        clock = SharedClock(FakeClock())
        assert clock.now() == START

    def test_then_by_what_it_was_told_in_the_middle_of_asking(self) -> None:
        own = FakeClock()
        clock = SharedClock(own)
        asked = own.monotonic()
        own.advance(0.2)
        clock.tell(START + HOUR, asked=asked, answered=own.monotonic())
        assert clock.now() == START + HOUR + timedelta(seconds=0.1)

    def test_what_was_long_on_its_way_does_not_replace_what_was_not(self) -> None:
        own = FakeClock()
        clock = SharedClock(own)
        clock.tell(START, asked=own.monotonic(), answered=own.monotonic())
        asked = own.monotonic()
        own.advance(2)
        # Said when it was asked, and not in the middle.
        clock.tell(START, asked=asked, answered=own.monotonic())
        assert clock.now() == START + timedelta(seconds=2)

    def test_but_after_a_while_it_does(self) -> None:
        own = FakeClock()
        clock = SharedClock(own)
        clock.tell(START, asked=own.monotonic(), answered=own.monotonic())
        own.advance(1200)
        asked = own.monotonic()
        own.advance(2)
        clock.tell(START + timedelta(seconds=1200), asked=asked, answered=own.monotonic())
        assert clock.now() == START + timedelta(seconds=1201)

    def test_what_can_not_be_true_of_the_same_clock_is_taken_however_long_it_took(self) -> None:
        own = FakeClock()
        clock = SharedClock(own)
        clock.tell(START, asked=own.monotonic(), answered=own.monotonic())
        asked = own.monotonic()
        own.advance(2)
        clock.tell(START + HOUR, asked=asked, answered=own.monotonic())
        assert clock.now() == START + HOUR + timedelta(seconds=1)

    def test_it_goes_on_with_the_monotonic_clock_and_not_with_the_wall(self) -> None:
        own = FakeClock()
        clock = SharedClock(own)
        clock.tell(START, asked=own.monotonic(), answered=own.monotonic())
        own.advance(30)
        own.jump(-86_400)
        assert clock.now() == START + timedelta(seconds=30)


async def test_sqlite_has_no_clock_but_this_machines(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    assert await database.time(FakeClock()) is None
    await database.close()


async def time_of(database: Database) -> datetime:
    told = await database.time(FakeClock())
    assert told is not None
    return told.now


@asynccontextmanager
async def replica(url: str, own: FakeClock) -> AsyncIterator[tuple[SharedClock, Database]]:
    """What a replica with this clock of its own works with, after its first beat."""
    settings = settings_of(DATABASE_URL=url, GATEWAY_MASTER_KEY="MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    around = surroundings_of(settings, own, random.Random(1), own_ports=frozenset(), names=PublicNames())
    assert isinstance(around.clock, SharedClock)
    await migrate(around.database)
    await Heartbeat(database=around.database, clock=around.clock, on_clock_back=[]).start()
    yield around.clock, around.database
    for part in (around.photogpt, around.proxy, around.sender, around.database):
        await part.close()


async def claimed_by(database: Database, now: datetime) -> int:
    return len(await database.transaction(lambda unit: unit.trainings.claim_due(now=now, lease_for=LEASE, limit=5)))


async def test_replicas_whose_own_clocks_differ_agree_on_the_time_and_on_a_lease(postgres_database_url: str) -> None:
    slow = replica(postgres_database_url, FakeClock())
    fast = replica(postgres_database_url, FakeClock(START + HOUR))
    async with slow as (one, database), fast as (other, _):
        told = await time_of(database)
        # Fake monotonic clocks stand still, so that what they were told is some moments old.
        assert all(timedelta(0) <= told - clock.now() < timedelta(minutes=1) for clock in (one, other))
        await store(database, a_tenant(), a_training(due_at=one.now() - LEASE))
        assert await claimed_by(database, one.now()) == 1
        assert await claimed_by(database, other.now()) == 0


async def test_a_wall_clock_that_jumps_moves_no_replica(postgres_database_url: str) -> None:
    own = FakeClock()
    async with replica(postgres_database_url, own) as (clock, database):
        mended = 0

        async def mend() -> int:
            nonlocal mended
            mended += 1
            return 0

        heart = Heartbeat(database=database, clock=clock, on_clock_back=[mend])
        await heart.beat()
        own.jump(-7200)
        own.advance(BEAT_SECONDS)
        await heart.beat()
        assert mended == 0
        told = await time_of(database)
        assert abs(told - clock.now()) < timedelta(minutes=1)
