"""What a gateway does with the rows of `earlier`, whoever wrote them: it reads, polls, delivers, erases and deletes."""

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, select
from sqlmodel import SQLModel

from service.domain.training import QueueRules, Signal
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Delivery, Event, Tenant, Training
from service.trainings.record import Held, Recorder
from tests.storage.earlier import ENDPOINT, WATCHED, at, tables_in
from tests.storage.sending import DELIVERED, OK, claim, record
from tests.support.rows import LEASE, stored

LATER = at(60)


async def everything(database: Database, known: MetaData | None = None) -> tuple[MetaData, dict[str, list[Any]]]:
    """All rows, in the tables and columns that are known, else in all that are there."""

    def look(connection: Connection) -> tuple[MetaData, dict[str, list[Any]]]:
        tables = known or tables_in(connection)
        return tables, {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in tables.sorted_tables
        }

    return await database.run(look)


async def goes_on(database: Database, *, endpoints: bool) -> None:
    """`endpoints`: whether there is one."""
    for mapper in SQLModel._sa_registry.mappers:
        await stored(database, mapper.class_)
    replayed = await database.read(lambda unit: unit.idempotency.get("ten_a", "k", not_before=at(-1)))
    assert replayed is not None
    assert replayed.outcome == {"id": 1}
    await _polls(database)
    await _delivers(database, endpoints=endpoints)
    await _erases_keys(database)
    await _deletes(database)


async def _polls(database: Database) -> None:
    due = {
        one.id: one
        for one in await database.transaction(
            lambda unit: unit.trainings.claim_due(now=LATER, lease_for=LEASE, limit=9)
        )
    }
    assert {name: str(one.watch.status) for name, one in due.items()} == WATCHED
    assert {one.sealed_key for one in due.values()} == {b"key"}

    def seen_ready(unit: UnitOfWork) -> list[Training | None]:
        recorder = Recorder(random.Random(1), QueueRules())
        return [
            recorder.save(
                unit, Held(one.id, one.fence, one.watch), one.watch.move(Signal.SEEN_READY), now=LATER, due_at=None
            )
            for one in due.values()
        ]

    assert [row and row.status for row in await database.transaction(seen_ready)] == ["ready", "ready"]
    events = [row for row in await stored(database, Event) if row.training_id in WATCHED]
    found = await database.read(lambda unit: unit.events.after("ten_a", 6, limit=9))
    assert [row.position for row in found] == list(range(7, 7 + len(events)))
    assert {row.id for row in found} == {row.id for row in events}


async def _delivers(database: Database, *, endpoints: bool) -> None:
    waiting = {row.id: row for row in await stored(database, Delivery) if row.status == "pending"}
    new = [row for row in waiting.values() if row.training_id in WATCHED]
    assert {row.callback_id or row.endpoint_id for row in new} == {"cbk_6", "cbk_7"} | (
        {ENDPOINT} if endpoints else set()
    )
    sent: set[str] = set()
    # One event after the other, for each that listens.
    while due := await claim(database, now=LATER):
        for one in due.values():
            assert await record(database, one, OK, DELIVERED, now=LATER)
        sent |= set(due)
    assert sent == set(waiting)


async def _erases_keys(database: Database) -> None:
    # The last training of `ten_a` has ended above; the others' keys were left behind.
    assert await database.read(lambda unit: unit.tenants.with_idle_key(9)) == ["ten_b", "ten_c"]
    assert [row.sealed_key for row in await stored(database, Tenant)] == [None, b"key", b"key"]


async def _deletes(database: Database) -> None:
    long_after = LATER + timedelta(days=60)
    while await database.transaction(lambda unit: unit.history.prune(long_after, keys_before=long_after, limit=100)):
        pass
    assert [await stored(database, table) for table in (Training, Event, Delivery)] == [[], [], []]
