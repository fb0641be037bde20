"""The gateway's own pulse: how often it is felt, what it finds, and what it does about a clock that was put back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from service.domain.errors import StorageUnavailable
from service.heartbeat import Heartbeat, Pulse
from service.storage.database import Database, Runner
from service.storage.installation import Heartbeat as Row
from service.storage.migrations import migrate
from tests.support.clock import START, FakeClock
from tests.support.rows import a_callback, a_delivery, a_tenant, a_training, an_event, store, stored
from tests.support.waiting import wait_until

T = TypeVar("T")


class Guarded:
    """A runner that can be broken, and held up before a write."""

    def __init__(self, inner: Runner) -> None:
        self.one_writer = inner.one_writer
        self.inner = inner
        self.broken = False
        self.writes = 0
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
        self.writes += 1
        await self.open.wait()
        if self.broken:
            raise OSError("no space left on device")
        return await self.inner.write(work, of)

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self.broken:
            raise OSError("no space left on device")
        return await self.inner.read(work)

    migrate = write

    async def scrub(self) -> bool:
        return await self.inner.scrub()

    async def close(self) -> None:
        await self.inner.close()


class Body:
    """A heart, its clock, what it is connected to, and how often due times were mended."""

    def __init__(self, runner: Guarded) -> None:
        self.clock = FakeClock()
        self.runner = runner
        self.database = Database(runner)
        self.mended = 0
        self.mending_fails = False
        self.heart = Heartbeat(database=self.database, clock=self.clock, on_clock_back=[self.mend, self.mend])

    async def mend(self) -> int:
        if self.mending_fails:
            raise StorageUnavailable("not now")
        self.mended += 1
        return 3

    async def wake_and_wait(self) -> int:
        """A tick; how many writes it made."""
        before = self.runner.writes
        self.heart.wake()
        await self.heart.stop()
        return self.runner.writes - before


@pytest.fixture
async def body(tmp_path: Path) -> AsyncIterator[Body]:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await migrate(database)
    yield Body(Guarded(database._runner))
    await database.close()


class TestRhythm:
    async def test_a_beat_is_written(self, body: Body) -> None:
        assert await body.wake_and_wait() == 1
        assert [(row.id, row.at) for row in await stored(body.database, Row)] == [(1, START)]

    async def test_ticks_make_a_beat_every_two_seconds(self, body: Body) -> None:
        writes = 0
        for _ in range(101):
            writes += await body.wake_and_wait()
            body.clock.advance(0.1)
        assert writes == 6

    async def test_a_beat_that_takes_long_is_not_overtaken(self, body: Body) -> None:
        body.runner.open.clear()
        body.heart.wake()
        await wait_until(lambda: body.runner.writes, what="the write")
        for _ in range(5):
            body.clock.advance(60)
            body.heart.wake()
        body.runner.open.set()
        await body.heart.stop()
        assert body.runner.writes == 1

    async def test_it_may_end_before_it_began(self, body: Body) -> None:
        await body.heart.stop()
        assert body.runner.writes == 0


class TestPulse:
    async def test_before_the_first_beat_nothing_is_known(self, body: Body) -> None:
        assert body.heart.pulse() == Pulse(storage_ok=False, written_ago=None, waiting={})

    @pytest.mark.parametrize(("seconds", "ok"), [(0, True), (10, True), (10.1, False), (3600, False)])
    async def test_what_was_written_lately_can_be_written(self, body: Body, seconds: float, ok: bool) -> None:
        await body.heart.beat()
        body.clock.advance(seconds)
        assert body.heart.pulse().storage_ok is ok
        assert body.heart.pulse().written_ago == pytest.approx(seconds)

    async def test_a_jump_of_the_wall_clock_is_no_age(self, body: Body) -> None:
        await body.heart.beat()
        body.clock.jump(86_400)
        assert body.heart.pulse().storage_ok

    async def test_what_fails_is_told_at_once_and_heals_by_itself(
        self, body: Body, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await body.heart.beat()
        body.runner.broken = True
        for _ in range(3):
            await body.heart.beat()
            assert not body.heart.pulse().storage_ok
        body.runner.broken = False
        for _ in range(2):
            await body.heart.beat()
            assert body.heart.pulse().storage_ok
        said = capsys.readouterr().out
        assert (said.count("storage_unavailable"), said.count("storage_recovered")) == (1, 1)

    async def test_how_long_the_oldest_due_rows_have_waited(self, body: Body) -> None:
        await body.heart.beat()
        assert body.heart.pulse().waiting == {}
        seconds = timedelta(seconds=1)
        await store(
            body.database,
            a_tenant(queue_due_at=START - 3 * seconds),
            a_training("trn_1", due_at=START - 7 * seconds),
            a_training("trn_2", due_at=START),
            a_callback(),
            an_event(),
            a_delivery(due_at=START + 5 * seconds),
        )
        await body.heart.beat()
        assert body.heart.pulse().waiting == {"poller": 7, "starter": 3, "dispatcher": 0}
        body.clock.advance(9)
        assert body.heart.pulse().waiting == {"poller": 16, "starter": 12, "dispatcher": 4}


class TestClock:
    @pytest.mark.parametrize(
        ("jumps", "mended"),
        [
            ([0.0], 0),
            ([-4.9], 0),
            ([4.9], 0),
            ([-5.0], 1),
            ([-86_400.0], 1),
            ([86_400.0], 0),
            ([86_400.0, -86_400.0], 1),
            ([-86_400.0, -10.0], 2),
            # Each too small to be seen, as when NTP slews.
            ([-0.4] * 20, 0),
        ],
        ids=str,
    )
    async def test_due_times_are_mended_once_for_each_jump_back(
        self, body: Body, jumps: list[float], mended: int
    ) -> None:
        await body.heart.beat()
        for seconds in jumps:
            body.clock.advance(2)
            body.clock.jump(seconds)
            for _ in range(2):
                await body.heart.beat()
        assert body.mended == 2 * mended

    async def test_time_that_passes_is_no_jump(self, body: Body) -> None:
        await body.heart.beat()
        body.clock.advance(86_400)
        await body.heart.beat()
        assert body.mended == 0

    async def test_it_is_mended_as_soon_as_storage_is_back(self, body: Body) -> None:
        await body.heart.beat()
        body.clock.jump(-3600)
        body.mending_fails = True
        for _ in range(2):
            await body.heart.beat()
            assert not body.heart.pulse().storage_ok
        assert body.mended == 0
        body.mending_fails = False
        await body.heart.beat()
        assert body.mended == 2
        assert body.heart.pulse().storage_ok

    async def test_a_clock_that_was_put_right_again_meanwhile_needs_no_mending(self, body: Body) -> None:
        await body.heart.beat()
        body.clock.jump(-3600)
        body.mending_fails = True
        await body.heart.beat()
        body.clock.jump(3600)
        body.mending_fails = False
        await body.heart.beat()
        assert body.mended == 0
