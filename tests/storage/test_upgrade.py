"""Upgrades: a database of any earlier revision, with rows in every table, becomes the newest; all are kept and go on.

What a revision makes of rows that are there has tests of its own, as 0003 has here.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from service.domain.egress import host_of
from service.storage import migrations
from service.storage.database import Database
from service.storage.migrations import migrate, newest_revision
from service.storage.tables import Delivery, Event, Tenant
from tests.storage.earlier import HOSTS, URLS, at, leave, revisions
from tests.storage.going_on import everything, goes_on
from tests.storage.sending import DELIVERED, OK, adds, claim, record
from tests.support.rows import LEASE, an_endpoint, an_event, store, stored

EARLIER = revisions()[:-1]


@pytest.mark.parametrize("revision", EARLIER)
async def test_every_row_is_kept_and_goes_on(empty_url: str, revision: str) -> None:
    database = Database(empty_url)
    await database.migrate(lambda connection: leave(connection, revision))
    known, before = await everything(database)
    assert all(before.values()), "a table without rows"
    await database.close()

    database = Database(empty_url)
    assert await migrate(database) == (revision, newest_revision())
    assert (await everything(database, known))[1] == before
    assert await migrate(database) == (newest_revision(), newest_revision())
    assert (await everything(database, known))[1] == before
    await goes_on(database, endpoints="webhook_endpoints" in before)
    await database.close()


@pytest.fixture
async def before(empty_url: str) -> AsyncIterator[Database]:
    database = Database(empty_url)
    await database.migrate(lambda connection: leave(connection, "0002"))
    yield database
    await database.close()


@pytest.fixture
async def upgraded(before: Database) -> Database:
    assert await migrate(before) == ("0002", newest_revision())
    return before


async def test_each_tenants_events_are_numbered_by_their_ids(upgraded: Database) -> None:
    events = await stored(upgraded, Event)
    for tenant in "ab":
        numbered = [(row.position, row.id) for row in events if row.tenant_id == f"ten_{tenant}"]
        assert [position for position, _ in numbered] == [1, 2, 3, 4, 5, 6]
        assert numbered == sorted(numbered)
    counts = {tenant.id: tenant.event_position for tenant in await stored(upgraded, Tenant)}
    assert counts == {"ten_a": 6, "ten_b": 6, "ten_c": 0}


async def test_the_next_event_follows_them(upgraded: Database) -> None:
    await store(upgraded, an_endpoint())
    new_event = an_event("evt_new", training="trn_0", sequence=3)
    new_event.terminal = False
    await upgraded.transaction(adds(new_event))
    found = await upgraded.read(lambda unit: unit.events.after("ten_a", 6, limit=9))
    assert [(row.id, row.position) for row in found] == [("evt_new", 7)]
    new = {row.callback_id or row.endpoint_id for row in await stored(upgraded, Delivery) if row.event_id == "evt_new"}
    assert new == {"cbk_0", "whe_1"}


async def test_each_delivery_has_the_host_of_its_callback(upgraded: Database) -> None:
    found = {row.callback_id: row.host for row in await stored(upgraded, Delivery)}
    assert found == HOSTS
    assert {name: host_of(url) for name, url in URLS.items()} == HOSTS, "the migration and the service differ"


async def test_each_is_kept_for_five_days_from_its_beginning_to_the_microsecond(upgraded: Database) -> None:
    for row in await stored(upgraded, Delivery):
        assert row.give_up_at == row.created_at + timedelta(days=5)

    # The database compares what is stored as the service does what it has read.
    async def waiting(now: datetime) -> int:
        hosts = list(HOSTS.values())
        return await upgraded.transaction(lambda unit: unit.outbox.give_up_waiting(hosts, now=now, limit=100))

    pending = [row for row in await stored(upgraded, Delivery) if row.status == "pending"]
    first = min(row.give_up_at for row in pending)
    assert await waiting(first - timedelta(microseconds=1)) == 0
    assert await waiting(first) == len([row for row in pending if row.give_up_at == first]) > 0


async def test_what_was_due_is_claimed_and_recorded(upgraded: Database) -> None:
    pending = {row.id for row in await stored(upgraded, Delivery) if row.status == "pending"}
    due = await claim(upgraded, now=at(60))
    assert set(due) == pending
    assert due["dlv_11"].host == "receiver.example:8443"
    for one in due.values():
        assert await record(upgraded, one, OK, DELIVERED, now=at(60))
    assert await claim(upgraded, now=at(60) + LEASE) == {}


async def test_everything_still_refers_to_something(upgraded: Database) -> None:
    def broken(connection: Connection) -> list[Any]:
        if connection.dialect.name == "sqlite":
            return list(connection.exec_driver_sql("PRAGMA foreign_key_check").all())
        unchecked = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"
        return list(connection.exec_driver_sql(unchecked).all())

    assert await upgraded.run(broken) == []
    for statement in (
        "DELETE FROM callbacks WHERE id = 'cbk_0'",
        "DELETE FROM events WHERE id = 'evt_01'",
        "DELETE FROM trainings WHERE id = 'trn_0'",
        "UPDATE deliveries SET endpoint_id = 'whe_absent' WHERE id = 'dlv_01'",
    ):
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            await upgraded.run(partial(Connection.exec_driver_sql, statement=statement))


async def test_every_host_is_found_by_index(before: Database) -> None:
    """Else a hundred thousand callbacks would each take a look at every delivery."""
    plan: list[str] = []

    def look(connection: Connection) -> None:
        def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("UPDATE deliveries SET host"):
                one = parameters[0] if isinstance(parameters, list) else parameters
                sqlite = connection.dialect.name == "sqlite"
                explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
                if not sqlite:
                    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                plan.extend(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", one))

        event.listen(connection, "before_cursor_execute", note)
        migrations.upgrade(connection)
        event.remove(connection, "before_cursor_execute", note)

    await before.migrate(look)
    assert "ix_deliveries_order" in " ".join(plan)
