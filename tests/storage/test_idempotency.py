"""Idempotency-Keys: one request has a key, until the key is outlived or given back."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from service.storage.database import Database, UnitOfWork
from service.storage.tables import IdempotencyKey
from tests.storage.interleaving import commit_elsewhere
from tests.support.rows import NOW, an_idempotency_key, store, stored, stored_one

DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)


async def claim(database: Database, record: IdempotencyKey) -> IdempotencyKey | None:
    """Claim at the time when `record` was made; records live for a day."""
    not_before = record.created_at - DAY
    return await database.transaction(lambda unit: unit.idempotency.claim(record, not_before=not_before))


async def get(
    database: Database, tenant: str = "ten_a", key: str = "key-1", *, age: timedelta = timedelta(0)
) -> IdempotencyKey | None:
    """The record as it is seen `age` after NOW."""
    return await database.read(lambda unit: unit.idempotency.get(tenant, key, not_before=NOW + age - DAY))


async def test_a_new_key_is_taken(database: Database) -> None:
    assert await claim(database, an_idempotency_key()) is None
    assert (await stored_one(database, IdempotencyKey)).model_dump() == {
        "tenant_id": "ten_a",
        "key": "key-1",
        "fingerprint": "fingerprint",
        "training_id": "trn_1",
        "outcome": None,
        "created_at": NOW,
    }


async def test_a_taken_key_gives_the_record_that_has_it(database: Database) -> None:
    await claim(database, an_idempotency_key(training="trn_1"))
    second = an_idempotency_key(training="trn_2", fingerprint="other", created_at=NOW + SECOND)
    holder = await claim(database, second)
    assert holder is not None
    assert (holder.training_id, holder.fingerprint, holder.created_at) == ("trn_1", "fingerprint", NOW)
    assert (await stored_one(database, IdempotencyKey)).training_id == "trn_1"


async def test_a_refused_claim_leaves_the_transaction_usable(database: Database) -> None:
    await claim(database, an_idempotency_key())

    def work(unit: UnitOfWork) -> bool:
        refused = unit.idempotency.claim(an_idempotency_key(training="trn_2"), not_before=NOW - DAY)
        taken = unit.idempotency.claim(an_idempotency_key("key-2", training="trn_2"), not_before=NOW - DAY)
        return refused is not None and taken is None

    assert await database.transaction(work)
    assert [(row.key, row.training_id) for row in await stored(database, IdempotencyKey)] == [
        ("key-1", "trn_1"),
        ("key-2", "trn_2"),
    ]


async def test_of_many_claims_at_once_one_takes_the_key(database: Database) -> None:
    records = [an_idempotency_key(training=f"trn_{number}") for number in range(12)]
    holders = await asyncio.gather(*(claim(database, record) for record in records))
    kept = (await stored_one(database, IdempotencyKey)).training_id
    assert holders.count(None) == 1
    assert {holder.training_id for holder in holders if holder} == {kept}


async def test_tenants_have_keys_of_their_own(database: Database) -> None:
    await claim(database, an_idempotency_key(tenant="ten_a"))
    assert await claim(database, an_idempotency_key(tenant="ten_b", training="trn_b")) is None
    found = await get(database, "ten_b")
    assert found is not None
    assert found.training_id == "trn_b"
    assert await get(database, "ten_c") is None


async def test_a_record_is_found_for_exactly_a_day(database: Database) -> None:
    await store(database, an_idempotency_key())
    assert await get(database, age=DAY) is not None
    assert await get(database, age=DAY + timedelta(microseconds=1)) is None


async def test_an_outlived_record_is_replaced_with_its_answer(database: Database) -> None:
    await claim(database, an_idempotency_key(training="trn_old"))
    await database.transaction(lambda unit: unit.idempotency.answer("ten_a", "key-1", {"kind": "accepted"}))
    late = an_idempotency_key(training="trn_new", created_at=NOW + DAY + SECOND)
    assert await claim(database, late) is None
    record = await stored_one(database, IdempotencyKey)
    assert (record.training_id, record.outcome, record.created_at) == ("trn_new", None, NOW + DAY + SECOND)


async def test_an_outlived_record_is_replaced_in_the_transaction_that_looked_at_it(database: Database) -> None:
    await store(database, an_idempotency_key(training="trn_old"))
    late = an_idempotency_key(training="trn_new", created_at=NOW + DAY + SECOND)

    def work(unit: UnitOfWork) -> tuple[object, object]:
        not_before = late.created_at - DAY
        seen = unit.idempotency.get("ten_a", "key-1", not_before=not_before)
        return seen, unit.idempotency.claim(late, not_before=not_before)

    assert await database.transaction(work) == (None, None)
    assert (await stored_one(database, IdempotencyKey)).training_id == "trn_new"


async def test_other_outlived_records_are_left_alone(database: Database) -> None:
    await store(
        database,
        an_idempotency_key("key-1", training="trn_old"),
        an_idempotency_key("key-2", training="trn_old"),
        an_idempotency_key("key-1", tenant="ten_b", training="trn_old"),
    )
    assert await claim(database, an_idempotency_key(training="trn_new", created_at=NOW + DAY + SECOND)) is None
    assert [(row.tenant_id, row.key, row.training_id) for row in await stored(database, IdempotencyKey)] == [
        ("ten_a", "key-1", "trn_new"),
        ("ten_a", "key-2", "trn_old"),
        ("ten_b", "key-1", "trn_old"),
    ]


async def test_a_record_that_is_not_outlived_is_not_replaced(database: Database) -> None:
    await store(database, an_idempotency_key(training="trn_old"))
    holder = await claim(database, an_idempotency_key(training="trn_new", created_at=NOW + DAY))
    assert holder is not None
    assert holder.training_id == "trn_old"


async def test_the_answer_is_kept_as_it_was_given(database: Database) -> None:
    await store(database, an_idempotency_key("key-1"), an_idempotency_key("key-2"))
    answer: dict[str, Any] = {
        "kind": "accepted",
        "training": {"id": "trn_1", "metadata": {"name": "Zoë 🦊", "nested": [1, 2.5, None, True]}},
        "status": None,
    }
    await database.transaction(lambda unit: unit.idempotency.answer("ten_a", "key-1", answer))
    assert [row.outcome for row in await stored(database, IdempotencyKey)] == [answer, None]


async def test_a_released_key_can_be_taken_again(database: Database) -> None:
    await store(database, an_idempotency_key("key-1"), an_idempotency_key("key-2"), an_idempotency_key(tenant="ten_b"))
    await database.transaction(lambda unit: unit.idempotency.release("ten_a", "key-1"))
    assert [(row.tenant_id, row.key) for row in await stored(database, IdempotencyKey)] == [
        ("ten_a", "key-2"),
        ("ten_b", "key-1"),
    ]
    assert await claim(database, an_idempotency_key(training="trn_2", created_at=NOW + SECOND)) is None


async def test_a_key_that_another_replica_gives_back_while_it_is_in_the_way_is_taken(
    postgres: Database, postgres_url: str
) -> None:
    await store(postgres, an_idempotency_key(training="trn_1"))
    given_back: list[None] = []

    def work(unit: UnitOfWork) -> object:
        def give_back(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            """When the insert has met the other's record, and before that is read."""
            if statement.startswith("INSERT") and not given_back:
                given_back.append(
                    commit_elsewhere(postgres_url, lambda other: other.idempotency.release("ten_a", "key-1"))
                )

        event.listen(unit.transaction.connection, "after_cursor_execute", give_back)
        return unit.idempotency.claim(an_idempotency_key(training="trn_2"), not_before=NOW - DAY)

    assert await postgres.transaction(work) is None
    assert given_back == [None]
    assert (await stored_one(postgres, IdempotencyKey)).training_id == "trn_2"


async def test_answering_and_releasing_an_absent_key_changes_nothing(database: Database) -> None:
    await store(database, an_idempotency_key())
    await database.transaction(lambda unit: unit.idempotency.answer("ten_a", "key-2", {"kind": "accepted"}))
    await database.transaction(lambda unit: unit.idempotency.release("ten_a", "key-2"))
    assert (await stored_one(database, IdempotencyKey)).outcome is None
