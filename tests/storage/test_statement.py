"""Statements in the driver's own words: the same rows as by a session, and in one order with what a session does."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import bindparam, create_mock_engine, select
from sqlalchemy.exc import IntegrityError

from service.storage.columns import UtcDateTime
from service.storage.database import Database, UnitOfWork
from service.storage.insert import insert_if_new, insert_new
from service.storage.rows import CallbackRow, TenantRow, TrainingRow
from service.storage.statement import Statement, listed, table_of, unlisted
from service.storage.tables import Callback, Event, Tenant, Training
from tests.support.rows import NOW, a_callback, a_tenant, a_training, an_event, columns_of, store, stored, stored_one

TENANTS = table_of(Tenant)
LISTED: Statement[Any] = Statement(select(TENANTS.c.id).where(listed(TENANTS.c.id, "ids")).order_by(TENANTS.c.id))
UNLISTED: Statement[Any] = Statement(select(TENANTS.c.id).where(unlisted(TENANTS.c.id, "ids")).order_by(TENANTS.c.id))
PRECEDED: Statement[Any] = Statement(
    select(TENANTS.c.id).where(
        TENANTS.c.id > bindparam("first"), listed(TENANTS.c.id, "ids"), TENANTS.c.id < bindparam("last")
    )
)
SQLITE = create_mock_engine("sqlite://", lambda *_: None).dialect


async def test_a_frozen_row_is_what_a_session_reads(database: Database) -> None:
    training = TrainingRow(
        id="trn_1",
        tenant_id="ten_a",
        model_id="model-1",
        status="training",
        suspended=True,
        caller_metadata={"order": ["4711", None]},
        created_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
        due_at=NOW,
    )
    callback = CallbackRow(
        id="cbk_1",
        tenant_id="ten_a",
        training_id="trn_1",
        url="https://example.com/",
        events=["training.ready"],
        sealed_secret=b"\x00sealed",
        created_at=NOW,
    )
    await store(database, a_tenant())

    def work(unit: UnitOfWork) -> None:
        insert_new(unit.transaction, training)
        insert_new(unit.transaction, callback)

    await database.transaction(work)
    assert columns_of(await stored_one(database, Training)) == columns_of(training)
    assert columns_of(await stored_one(database, Callback)) == columns_of(callback)
    assert await database.read(lambda unit: unit.trainings.get("ten_a", "trn_1")) == training
    assert await database.read(lambda unit: unit.trainings.callbacks_of("trn_1")) == [callback]


async def test_what_a_session_was_given_before_is_there(database: Database) -> None:
    def work(unit: UnitOfWork) -> object:
        unit.session.add(a_tenant("ten_b"))
        insert_new(unit.transaction, a_training(tenant="ten_b"))
        return unit.tenants.get("ten_b")

    assert await database.transaction(work) is not None
    assert (await stored_one(database, Training)).tenant_id == "ten_b"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 9, 300])
async def test_a_list_may_have_any_length(database: Database, count: int) -> None:
    await store(database, *(a_tenant(f"ten_{number:03}") for number in range(3)))
    ids = [f"ten_{number:03}" for number in range(1, count + 1)]
    there = await database.read(lambda unit: unit.transaction.all(LISTED, ids=ids))
    elsewhere = await database.read(lambda unit: unit.transaction.all(UNLISTED, ids=ids))
    assert there == [(name,) for name in ("ten_001", "ten_002") if name in ids]
    assert elsewhere == [(name,) for name in ("ten_000", "ten_001", "ten_002") if name not in ids]


async def test_a_list_stands_among_other_parameters(database: Database) -> None:
    await store(database, *(a_tenant(f"ten_{name}") for name in "abcd"))
    ids = ["ten_a", "ten_b", "ten_c"]
    found = await database.read(lambda unit: unit.transaction.all(PRECEDED, first="ten_a", ids=ids, last="ten_c"))
    assert found == [("ten_b",)]


async def test_an_insert_yields_to_a_unique_index_and_to_nothing_else(database: Database) -> None:
    await store(database, a_tenant(), a_training())
    again = await database.transaction(lambda unit: insert_if_new(unit.transaction, a_tenant()))
    assert not again
    with pytest.raises(IntegrityError):
        await database.transaction(lambda unit: insert_if_new(unit.transaction, a_callback(training="trn_unknown")))
    with pytest.raises(IntegrityError):
        await database.transaction(
            lambda unit: insert_if_new(unit.transaction, TenantRow(id="ten_b", created_at=NOW))  # type: ignore[call-arg]
        )
    assert await stored(database, Callback) == []


async def test_what_can_be_there_once_only_is_refused_the_second_time(database: Database) -> None:
    await store(database, a_tenant(), a_training())
    await database.transaction(lambda unit: insert_new(unit.transaction, an_event("evt_1")))
    with pytest.raises(IntegrityError):
        await database.transaction(lambda unit: insert_new(unit.transaction, an_event("evt_2")))
    assert (await stored_one(database, Event)).id == "evt_1"


@given(
    st.datetimes(timezones=st.timezones(), min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1))  # noqa: DTZ001  # the zone is drawn
)
def test_a_time_comes_back_from_sqlite_as_the_same_time_in_utc(at: datetime) -> None:
    into, out_of = UtcDateTime().bind_processor(SQLITE), UtcDateTime().result_processor(SQLITE, None)
    assert into is not None
    assert out_of is not None
    stored = into(at)
    assert (out_of(stored), out_of(stored).tzinfo) == (at.astimezone(UTC), UTC)


@given(st.lists(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1)), min_size=2, max_size=2))  # noqa: DTZ001
def test_times_are_ordered_as_their_words(pair: list[datetime]) -> None:
    into = UtcDateTime().bind_processor(SQLITE)
    assert into is not None
    first, second = (at.replace(tzinfo=UTC) for at in pair)
    assert (into(first) < into(second)) == (first < second)
