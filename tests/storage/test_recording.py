"""Polls that end together are recorded together, and each as if it were alone."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import StorageUnavailable
from service.domain.training import (
    KeyRefused,
    ModelNotFound,
    Observation,
    QueueRules,
    Rules,
    Seen,
    Status,
    Throttled,
    Unreadable,
)
from service.storage.database import Database, Runner
from service.storage.due_training import DueTraining, due_training
from service.storage.tables import Event, Tenant, Training
from service.trainings.reading import Reading, Readings
from service.trainings.record import Held, Recorder
from service.trainings.recording import Recording
from tests.storage.unreliable import Hurried, Unreliable
from tests.support.clock import FakeClock
from tests.support.rows import NOW, a_callback, a_tenant, a_training, store, stored

LATER = NOW + timedelta(minutes=5)
RULES = Rules(
    poll_interval=timedelta(minutes=5),
    lease=timedelta(minutes=1),
    overdue_after=timedelta(minutes=35),
    expire_after=timedelta(days=1),
)
STILL_TRAINING = Observation("training")
TENANTS = ("ten_a", "ten_b")


class Overheard(Unreliable):
    """Knows of which tenant each unit of work was said to be; writes nothing while it is not `free`."""

    def __init__(self, inner: Runner, *, failures: int = 0, after_commit: bool = False) -> None:
        super().__init__(inner, failures=failures, after_commit=after_commit)
        self.tenants: list[str | None] = []
        self.free = asyncio.Event()
        self.free.set()

    async def write(self, work: Any, of: str | None = None) -> Any:
        self.tenants.append(of)
        await self.free.wait()
        return await super().write(work, of)


def readings() -> Readings:
    rng = random.Random(1)
    return Readings(recorder=Recorder(rng, QueueRules()), rules=RULES, rng=rng)


def read(due: DueTraining, seen: Seen = STILL_TRAINING) -> Reading:
    return readings().judge(due, seen, LATER)


async def watched(database: Database, count: int, *, of: Sequence[str] = ("ten_a",)) -> list[DueTraining]:
    rows = [a_training(f"trn_{number}", tenant=of[number % len(of)], fence=3) for number in range(count)]
    await store(
        database,
        *(a_tenant(tenant) for tenant in of),
        *rows,
        *(a_callback(f"cbk_{row.id}", training=row.id, tenant=row.tenant_id) for row in rows),
    )
    return [due_training(row, None) for row in rows]


async def record(
    runner: Runner, *together: Reading, clock: FakeClock | None = None, within: float = 60
) -> list[bool | BaseException]:
    """What each is told."""
    clock = clock or Hurried()
    recording = Recording(database=Database(runner), readings=readings(), clock=clock)
    until = clock.monotonic() + within
    return await asyncio.gather(*(recording.save(one, until=until) for one in together), return_exceptions=True)


async def rows(database: Database) -> dict[str, Training]:
    return {row.id: row for row in await stored(database, Training)}


async def polled(database: Database) -> list[str]:
    """The ids of what was recorded."""
    return sorted(row.id for row in await stored(database, Training) if row.last_polled_at == LATER)


def not_storable(reading: Reading) -> Reading:
    """No column takes a time without its zone."""
    return replace(reading, changes={"last_polled_at": LATER.replace(tzinfo=None)})


async def test_those_that_end_together_are_one_unit_of_work(database: Database) -> None:
    due = await watched(database, 30)
    runner = Overheard(database._runner)
    assert await record(runner, *(read(one) for one in due)) == [True] * 30
    assert runner.tries == 1
    assert await polled(database) == sorted(one.id for one in due)


async def test_more_than_fit_into_one_are_recorded_too(database: Database) -> None:
    due = await watched(database, 230)
    runner = Overheard(database._runner)
    assert await record(runner, *(read(one) for one in due)) == [True] * 230
    assert runner.tries == 3
    assert len(await polled(database)) == 230


async def test_those_of_several_tenants_are_so_where_nobody_else_writes(database: Database) -> None:
    due = await watched(database, 10, of=TENANTS)
    runner = Overheard(database._runner)
    assert await record(runner, *(read(one) for one in due)) == [True] * 10
    assert runner.tenants == ([None] if database.has_one_writer else ["ten_a", "ten_b"])
    assert len(await polled(database)) == 10


async def test_what_is_new_is_told_among_what_is_not(database: Database) -> None:
    due = await watched(database, 3)
    heard: list[set[str]] = []
    recording_to = Database(database._runner)
    recording_to.on_news(lambda news: heard.append(news.tenants))
    recording = Recording(database=recording_to, readings=readings(), clock=FakeClock())
    seen = [STILL_TRAINING, Observation("ready"), STILL_TRAINING]
    assert await asyncio.gather(*(recording.save(read(*one), until=0) for one in zip(due, seen, strict=True)))
    assert {row.id: row.status for row in await stored(database, Training)} == {
        "trn_0": "training",
        "trn_1": "ready",
        "trn_2": "training",
    }
    assert [event.training_id for event in await stored(database, Event)] == ["trn_1"]
    assert heard == [{"ten_a"}]


async def test_one_whose_lease_was_lost_is_told_so_and_the_others_are_stored(database: Database) -> None:
    due = await watched(database, 3)
    due[1] = replace(due[1], fence=2)
    assert await record(database._runner, *(read(one) for one in due)) == [True, False, True]
    assert await polled(database) == ["trn_0", "trn_2"]


@pytest.mark.parametrize("seen", [STILL_TRAINING, Observation("ready")])
async def test_one_that_fails_loses_no_other(database: Database, seen: Seen) -> None:
    due = await watched(database, 3)
    first, failed, last = await record(
        database._runner, read(due[0]), not_storable(read(due[1], seen)), read(due[2], Observation("ready"))
    )
    assert (first, last) == (True, True)
    assert isinstance(failed, Exception)
    assert "zone" in str(failed)
    assert await polled(database) == ["trn_0", "trn_2"]
    assert [event.training_id for event in await stored(database, Event)] == ["trn_2"]


async def test_one_whose_poll_was_cancelled_before_its_turn_is_left_out(database: Database) -> None:
    due = await watched(database, 2)
    runner = Overheard(database._runner)
    runner.free.clear()
    recording = Recording(database=Database(runner), readings=readings(), clock=FakeClock())
    left, stayed = (asyncio.create_task(recording.save(read(one), until=0)) for one in due)
    await asyncio.wait([left, stayed], timeout=0)
    left.cancel()
    await asyncio.wait([left])
    runner.free.set()
    assert await stayed is True
    assert left.cancelled()
    assert await polled(database) == ["trn_1"]


async def test_a_key_is_paused_by_one_of_them(database: Database) -> None:
    due = await watched(database, 2)
    throttled = read(due[0], Throttled(timedelta(minutes=30)))
    assert await record(database._runner, read(due[1]), throttled) == [True, True]
    [tenant] = await stored(database, Tenant)
    assert tenant.polls_paused_until == LATER + timedelta(minutes=30)
    assert {row.due_at for row in await stored(database, Training)} == {tenant.polls_paused_until}


class TestUnavailable:
    @pytest.mark.parametrize("failures", [1, 4, 20])
    async def test_each_is_tried_until_the_database_is_back(self, database: Database, failures: int) -> None:
        due = await watched(database, 3)
        runner = Overheard(database._runner, failures=failures)
        assert await record(runner, *(read(one) for one in due)) == [True] * 3
        assert len(await polled(database)) == 3

    async def test_each_is_given_up_when_its_lease_ends(self, database: Database) -> None:
        due = await watched(database, 2)
        told = await record(Overheard(database._runner, failures=1000), *(read(one) for one in due), within=5)
        assert [type(one) for one in told] == [StorageUnavailable] * 2
        assert await polled(database) == []

    async def test_what_went_through_unnoticed_is_not_done_twice(self, database: Database) -> None:
        due = await watched(database, 2)
        runner = Overheard(database._runner, failures=1, after_commit=True)
        assert await record(runner, read(due[0]), read(due[1], Observation("ready"))) == [False, False]
        assert [row.fence for row in await stored(database, Training)] == [4, 4]
        assert len(await stored(database, Event)) == 1

    async def test_a_database_that_is_closed_leaves_nobody_waiting(self, sqlite_url: str, sqlite: Database) -> None:
        due = await watched(sqlite, 2)
        closed = Database(sqlite_url)
        await closed.close()
        told = await record(closed._runner, *(read(one) for one in due), within=0)
        assert [type(one) for one in told] == [StorageUnavailable] * 2

    async def test_what_ends_after_a_failure_is_recorded(self, database: Database) -> None:
        due = await watched(database, 2)
        clock = Hurried()
        recording = Recording(
            database=Database(Overheard(database._runner, failures=2)), readings=readings(), clock=clock
        )
        with pytest.raises(StorageUnavailable):
            await recording.save(read(due[0]), until=clock.monotonic())
        assert await recording.save(read(due[1]), until=clock.monotonic())
        assert await polled(database) == ["trn_1"]


ROW = {"readings": 2, "not_found_count": 1, "key_refused_count": 1, "to_confirm": True, "upstream_status": "new"}


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        (ROW, STILL_TRAINING),
        (ROW, Observation("never heard of")),
        (ROW | {"baseline_status": "ready", "baseline_updated_at": "1"}, Observation("ready", "1")),
        (ROW | {"baseline_status": "ready", "left_baseline": True}, STILL_TRAINING),
        (ROW | {"overdue": True}, STILL_TRAINING),
        (ROW | {"suspended": True}, STILL_TRAINING),
        (ROW | {"status": Status.SUBMITTING, "baseline_status": "new"}, Observation("new")),
        (ROW, ModelNotFound()),
        (ROW, KeyRefused()),
        (ROW, Throttled()),
        (ROW, Unreadable("timeout")),
        # With something to tell.
        (ROW, Observation("ready")),
        (ROW | {"not_found_count": 2}, ModelNotFound()),
        (ROW | {"key_refused_count": 2}, KeyRefused()),
        (ROW | {"status": Status.SUBMITTING, "baseline_status": "new"}, STILL_TRAINING),
        (ROW | {"triggered_at": NOW - timedelta(hours=1)}, STILL_TRAINING),
        (ROW | {"triggered_at": NOW - timedelta(days=2)}, STILL_TRAINING),
        (ROW | {"triggered_at": NOW - timedelta(days=2), "overdue": True, "expiring": True}, STILL_TRAINING),
    ],
)
async def test_a_reading_leaves_the_row_that_any_change_leaves(
    database: Database, row: dict[str, Any], seen: Seen
) -> None:
    """However few columns are written because nobody is told of anything."""
    pair = [a_training("trn_reading", fence=3), a_training("trn_change", fence=3)]
    for training in pair:
        for name, value in row.items():
            setattr(training, name, value)
    dues = [due_training(training, None) for training in pair]
    await store(database, a_tenant(), *pair)
    mine = readings()
    reading, change = (mine.judge(due, seen, LATER) for due in dues)
    change = replace(change, delay=reading.delay)
    due_at = None if change.after.suspended else LATER + change.delay
    held = Held(dues[1].id, dues[1].fence, dues[1].watch)
    recorder = Recorder(random.Random(1), QueueRules())
    await database.transaction(
        lambda unit: recorder.save(unit, held, change.after, now=LATER, due_at=due_at, changes=change.changes)
    )
    assert await database.transaction(lambda unit: mine.save(unit, reading))
    after = {name: found.model_dump(exclude={"id", "model_id"}) for name, found in (await rows(database)).items()}
    assert after["trn_reading"] == after["trn_change"]
    assert after["trn_reading"]["last_polled_at"] == LATER
