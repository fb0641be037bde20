"""An upgrade from the release before: revision 0002 with rows in every table becomes the newest, and all are kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from service.domain.delivery import DeliveryStatus
from service.domain.egress import host_of
from service.storage import migrations
from service.storage.database import Database
from service.storage.migrations import migrate, newest_revision
from service.storage.tables import Attempt, Callback, Delivery, Event, Heartbeat, IdempotencyKey, Tenant, Training
from tests.storage.sending import DELIVERED, OK, adds, claim, record
from tests.support.rows import LEASE, an_endpoint, an_event, store, stored

# With a fraction of a second, which a conversion might lose.
THEN = datetime(2026, 2, 1, 10, 30, 15, 123_456, tzinfo=UTC)
URLS = {
    "cbk_0": "https://receiver.example/hook?a=https://x:1/",
    "cbk_1": "https://receiver.example:8443/",
    "cbk_2": "https://[2001:db8::1]/hook",
    "cbk_3": "https://[2001:db8::1]:8443/hook",
    "cbk_4": "http://127.0.0.1:3000/hook",
    "cbk_5": "http://localhost/",
}
HOSTS = {
    "cbk_0": "receiver.example:443",
    "cbk_1": "receiver.example:8443",
    "cbk_2": "[2001:db8::1]:443",
    "cbk_3": "[2001:db8::1]:8443",
    "cbk_4": "127.0.0.1:3000",
    "cbk_5": "localhost:80",
}


def at(minutes: int) -> datetime:
    return THEN + timedelta(minutes=minutes)


def rows() -> dict[str, list[dict[str, Any]]]:
    """Two tenants with three trainings each, in turn; of each a first and a last event, a callback, two deliveries."""
    found: dict[str, list[dict[str, Any]]] = {
        "tenants": [
            {
                "id": f"ten_{name}",
                "sealed_key": b"key",
                "sealed_signing_secret": b"secret",
                "polls_paused_until": at(1),
                "created_at": THEN,
            }
            for name in "abc"
        ],
        "heartbeats": [{"id": 1, "at": THEN}],
        "idempotency_keys": [
            {"tenant_id": "ten_a", "key": "k", "fingerprint": "f", "training_id": "trn_0", "outcome": '{"id": 1}'}
        ],
    }
    found["idempotency_keys"][0]["created_at"] = THEN
    for number in range(6):
        tenant = {"tenant_id": f"ten_{'ab'[number % 2]}", "created_at": at(number)}
        training = {**tenant, "training_id": f"trn_{number}"}
        found.setdefault("trainings", []).append(
            {
                **tenant,
                "id": f"trn_{number}",
                "model_id": f"model_{number}",
                "status": "ready",
                **dict.fromkeys(("left_baseline", "overdue", "suspended", "expiring"), False),
                **dict.fromkeys(("not_found_count", "key_refused_count", "readings", "fence"), 0),
                "caller_metadata": '{"order": 7}',
                "sequence": 2,
                "finished_at": at(number),
            }
        )
        callback = f"cbk_{number}"
        found.setdefault("callbacks", []).append(
            {**training, "id": callback, "url": URLS[callback], "events": '["training.ready", "training.started"]'}
        )
        for sequence, kind in ((1, "training.started"), (2, "training.ready")):
            made = f"evt_{number}{sequence}"
            found.setdefault("events", []).append(
                {
                    **training,
                    "id": made,
                    "type": kind,
                    "sequence": sequence,
                    "terminal": sequence == 2,
                    "body": made.encode(),
                }
            )
            status = list(DeliveryStatus)[(2 * number + sequence) % 3]
            pending = status == "pending"
            delivery = f"dlv_{number}{sequence}"
            found.setdefault("deliveries", []).append(
                {
                    **training,
                    "id": delivery,
                    "event_id": made,
                    "callback_id": callback,
                    "event_type": kind,
                    "sequence": sequence,
                    "status": str(status),
                    "attempts_made": 1,
                    "attempts_started": 1,
                    "finished_at": None if pending else at(number),
                    "due_at": at(number) if pending else None,
                    "fence": 3,
                }
            )
            found.setdefault("attempts", []).append(
                {"id": f"att_{number}{sequence}", "delivery_id": delivery, "number": 1, "started_at": at(number)}
                | {"duration_ms": 5, "status_code": 503, "error_class": "http_5xx", "excerpt": "busy"}
            )
    return found


ORDER = ("tenants", "heartbeats", "idempotency_keys", "trainings", "callbacks", "events", "deliveries", "attempts")


def _as_before(connection: Connection) -> None:
    """A database as the release before left it."""
    migrations.upgrade(connection, "0002")
    sqlite = connection.dialect.name == "sqlite"
    for table in ORDER:
        for row in rows()[table]:
            values = {name: _stored(value, sqlite=sqlite) for name, value in row.items()}
            marks = [f"CAST(:{name} AS JSON)" if name in _JSON and not sqlite else f":{name}" for name in row]
            insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(marks)})"
            connection.execute(text(insert), values)


_JSON = ("outcome", "caller_metadata", "events")


def _stored(value: Any, *, sqlite: bool) -> Any:
    """SQLite has no type for times: this is how SQLAlchemy writes them."""
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if sqlite and isinstance(value, datetime) else value


@pytest.fixture
async def before(empty_url: str) -> AsyncIterator[Database]:
    database = Database(empty_url)
    await database.migrate(_as_before)
    yield database
    await database.close()


@pytest.fixture
async def upgraded(before: Database) -> Database:
    assert await migrate(before) == ("0002", newest_revision())
    return before


async def test_every_row_is_kept_as_it_was(upgraded: Database) -> None:
    tables = (Tenant, Heartbeat, IdempotencyKey, Training, Callback, Event, Delivery, Attempt)
    for table in tables:
        dumped = [row.model_dump() for row in await stored(upgraded, table)]
        found = {row.get("id", "k"): row for row in dumped}
        expected = {row.get("id", "k"): row for row in rows()[str(table.__tablename__)]}
        assert found.keys() == expected.keys()
        for key, row in expected.items():
            kept = {name: found[key][name] for name in row if name not in _JSON}
            assert kept == {name: value for name, value in row.items() if name not in _JSON}, key
    assert {tuple(row.events) for row in await stored(upgraded, Callback)} == {("training.ready", "training.started")}
    assert [row.caller_metadata for row in await stored(upgraded, Training)] == [{"order": 7}] * 6
    assert [row.outcome for row in await stored(upgraded, IdempotencyKey)] == [{"id": 1}]


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
