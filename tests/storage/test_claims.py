"""Claiming: who is due, for how long a claim holds, and that two claimers never hold the same row."""

import asyncio
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.storage.database import Database, UnitOfWork
from tests.storage.interleaving import uncommitted
from tests.storage.queues import DeliveryQueue, Queue, TrainingQueue, claim, leases
from tests.support.rows import LEASE, NOW, a_tenant, a_training, store
from tests.support.statements import hearing

SECOND = timedelta(seconds=1)


@pytest.fixture(params=[TrainingQueue, DeliveryQueue], ids=["trainings", "deliveries"])
def queue(request: pytest.FixtureRequest) -> Queue:
    made: Queue = request.param()
    return made


async def test_only_what_is_due_is_claimed(database: Database, queue: Queue) -> None:
    await queue.fill(
        database,
        {"overdue": NOW - timedelta(days=3), "due_now": NOW, "a_moment_later": NOW + timedelta(microseconds=1)},
    )
    assert await claim(database, queue, now=NOW) == {"overdue": 1, "due_now": 1}


async def test_nothing_due_is_an_empty_claim(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"later": NOW + SECOND})
    assert await claim(database, queue, now=NOW) == {}
    assert await leases(database, queue) == {"later": (NOW + SECOND, 0)}


async def test_what_has_been_due_longest_is_claimed_first(database: Database, queue: Queue) -> None:
    await queue.fill(
        database,
        {"c": NOW - 3 * SECOND, "a": NOW - 5 * SECOND, "e": NOW - SECOND, "b": NOW - 4 * SECOND, "d": NOW - 2 * SECOND},
    )
    assert set(await claim(database, queue, now=NOW, limit=2)) == {"a", "b"}
    assert set(await claim(database, queue, now=NOW, limit=2)) == {"c", "d"}
    assert set(await claim(database, queue, now=NOW, limit=2)) == {"e"}


async def test_a_claim_leases_its_rows_under_a_new_fence_and_touches_no_other(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"claimed": NOW - SECOND, "too_late": NOW, "later": NOW + SECOND})
    assert await claim(database, queue, now=NOW, limit=1) == {"claimed": 1}
    assert await leases(database, queue) == {
        "claimed": (NOW + LEASE, 1),
        "too_late": (NOW, 0),
        "later": (NOW + SECOND, 0),
    }


async def test_a_leased_row_is_not_claimed_until_its_lease_ends(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"row": NOW})
    assert await claim(database, queue, now=NOW) == {"row": 1}
    assert await claim(database, queue, now=NOW) == {}
    assert await claim(database, queue, now=NOW + LEASE - timedelta(microseconds=1)) == {}


async def test_a_row_whose_lease_ended_is_claimed_again_under_a_higher_fence(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"row": NOW})
    assert await claim(database, queue, now=NOW) == {"row": 1}
    assert await claim(database, queue, now=NOW + LEASE) == {"row": 2}
    assert await claim(database, queue, now=NOW + 2 * LEASE) == {"row": 3}
    assert await leases(database, queue) == {"row": (NOW + 3 * LEASE, 3)}


async def test_what_this_process_works_on_is_not_claimed_again_when_a_jump_of_the_clock_ends_its_lease(
    database: Database, queue: Queue
) -> None:
    await queue.fill(database, {"busy": NOW - 2 * SECOND, "another": NOW - SECOND})
    assert await claim(database, queue, now=NOW, limit=1) == {"busy": 1}
    tomorrow = NOW + timedelta(days=1)
    assert await claim(database, queue, now=tomorrow, limit=1, busy=["busy"]) == {"another": 1}
    assert (await leases(database, queue))["busy"] == (NOW + LEASE, 1)
    # Another process has no part in that.
    assert await claim(database, queue, now=tomorrow, limit=1) == {"busy": 2}


async def test_very_many_may_be_worked_on_at_once(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"row": NOW})
    assert await claim(database, queue, now=NOW, busy=[f"row_{number}" for number in range(4096)]) == {"row": 1}


async def test_a_claim_that_is_rolled_back_leases_nothing(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"row": NOW})

    def work(unit: UnitOfWork) -> None:
        assert [row.id for row in queue.claim(unit, now=NOW, limit=1)] == ["row"]
        raise InterruptedByTest

    with pytest.raises(InterruptedByTest):
        await database.transaction(work)
    assert await leases(database, queue) == {"row": (NOW, 0)}
    assert await claim(database, queue, now=NOW) == {"row": 1}


async def test_what_wants_no_work_is_never_claimed(database: Database, queue: Queue) -> None:
    await queue.fill(database, {"due": NOW, "without_due_time": None})
    await queue.add_finished(database, "finished")
    years_later = NOW + timedelta(days=3650)
    assert await claim(database, queue, now=years_later) == {"due": 1}
    assert await leases(database, queue) == {
        "due": (years_later + LEASE, 1),
        "without_due_time": (None, 0),
        "finished": (None, 0),
    }


async def test_a_suspended_training_is_never_claimed(database: Database) -> None:
    await store(database, a_tenant(), a_training("suspended", suspended=True, due_at=None))
    assert await claim(database, TrainingQueue(), now=NOW + timedelta(days=3650)) == {}


async def test_claimers_at_the_same_time_claim_everything_once(database: Database, queue: Queue) -> None:
    await queue.fill(database, {f"row_{number:03}": NOW - number * SECOND for number in range(500)})

    async def claimer() -> list[str]:
        mine: list[str] = []
        while claimed := await claim(database, queue, now=NOW, limit=20):
            assert set(claimed.values()) == {1}
            mine += claimed
        return mine

    shares = await asyncio.gather(*(claimer() for _ in range(8)))
    times_claimed = Counter(row for share in shares for row in share)
    assert len(times_claimed) == 500
    assert set(times_claimed.values()) == {1}
    assert {fence for _, fence in (await leases(database, queue)).values()} == {1}


async def test_a_claim_does_not_wait_for_rows_that_another_is_claiming(
    postgres: Database, postgres_url: str, queue: Queue
) -> None:
    await queue.fill(postgres, {"first": NOW - 2 * SECOND, "second": NOW - SECOND})
    async with uncommitted(postgres_url, lambda unit: queue.claim(unit, now=NOW, limit=1)):
        assert await claim(postgres, queue, now=NOW) == {"second": 1}
    assert await leases(postgres, queue) == {"first": (NOW + LEASE, 1), "second": (NOW + LEASE, 1)}


class TestPlan:
    """Most rows are not due: the plan must go to the few that are, and not through the table."""

    async def test_sqlite_searches_the_partial_index_of_due_rows(self, sqlite: Database, queue: Queue) -> None:
        await queue.fill(sqlite, {"row": NOW})
        plan = await sqlite.transaction(lambda unit: explained(unit, queue, "EXPLAIN QUERY PLAN"))
        assert f"SEARCH {queue.table.__tablename__} USING INDEX {queue.due_index} (due_at<?)" in plan
        assert [step for step in plan if step.startswith(f"SCAN {queue.table.__tablename__}")] == []

    async def test_postgres_searches_the_partial_index_of_due_rows(self, postgres: Database, queue: Queue) -> None:
        later = {f"later_{number:03}": NOW + timedelta(hours=1) for number in range(200)}
        await queue.fill(postgres, {"due": NOW, **later})

        def work(unit: UnitOfWork) -> list[str]:
            connection = unit.session.connection()
            # The planner must know these rows, not those of earlier tests; and would rather read a small table whole.
            connection.execute(text(f"ANALYZE {queue.table.__tablename__}"))
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            return explained(unit, queue, "EXPLAIN")

        plan = "\n".join(await postgres.transaction(work))
        assert re.search(rf"Index Scan (using|on) {queue.due_index}", plan)
        assert re.search(r"Index Cond: \(due_at <= ", plan)

    async def test_whether_an_earlier_event_is_pending_is_looked_up_by_index(self, sqlite: Database) -> None:
        queue = DeliveryQueue()
        await queue.fill(sqlite, {"row": NOW})
        plan = await sqlite.transaction(lambda unit: explained(unit, queue, "EXPLAIN QUERY PLAN"))
        assert "SEARCH deliveries_1 USING INDEX ix_deliveries_training (training_id=?)" in plan


def explained(unit: UnitOfWork, queue: Queue, explain: str) -> list[str]:
    """The plan of the very statement by which a claim chooses its rows, step by step."""
    connection = unit.transaction.connection
    executed: list[tuple[str, Any]] = []

    with hearing(connection, lambda statement, parameters: executed.append((statement, parameters))):
        queue.claim(unit, now=NOW, limit=10)
    statement, parameters = executed[0]
    assert statement.startswith("SELECT")
    return [str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)]


class InterruptedByTest(Exception):
    pass
