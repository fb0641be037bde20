"""Ten thousand watched trainings, all due at once: each is polled once, and none is forgotten. Counts, no times."""

import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise

from sqlmodel import insert, select

from service.storage.database import Database, UnitOfWork
from service.storage.tables import Training
from tests.support.rows import LEASE, NOW, a_tenant, a_training, store

WATCHED = 10_000
BATCH = 100


async def test_claims_in_batches_give_each_of_ten_thousand_once(database: Database) -> None:
    rng = random.Random(20260301)
    await store(database, a_tenant())
    row = a_training().model_dump()
    rows = [
        {
            **row,
            "id": f"trn_{number:05}",
            "model_id": f"model_{number:05}",
            "due_at": NOW - timedelta(seconds=rng.randrange(300)),
        }
        for number in range(WATCHED)
    ]
    await database.run(lambda connection: connection.execute(insert(Training), rows))

    batches: list[list[str]] = []
    while batch := await claim_batch(database):
        batches.append(batch)

    assert [len(batch) for batch in batches] == [BATCH] * (WATCHED // BATCH)
    times_claimed = Counter(row for batch in batches for row in batch)
    assert len(times_claimed) == WATCHED
    assert set(times_claimed.values()) == {1}
    assert await database.read(leases_and_fences) == {(NOW + LEASE, 1)}
    due = {row["id"]: row["due_at"] for row in rows}
    due_in_batches = [sorted(due[row] for row in batch) for batch in batches]
    assert all(earlier[-1] <= later[0] for earlier, later in pairwise(due_in_batches))


async def claim_batch(database: Database) -> list[str]:
    claimed = await database.transaction(lambda unit: unit.trainings.claim_due(now=NOW, lease_for=LEASE, limit=BATCH))
    return [due.id for due in claimed]


def leases_and_fences(unit: UnitOfWork) -> set[tuple[object, int]]:
    return {(due_at, fence) for due_at, fence in unit.session.exec(select(Training.due_at, Training.fence))}
