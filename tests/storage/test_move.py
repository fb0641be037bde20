"""A move: everything arrives as it was, wherever it was interrupted, and one of the two databases is served at most."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import Connection, text
from sqlmodel import SQLModel, delete, update

from service.domain.errors import ConfigurationError, MoveFailed
from service.storage import migrations
from service.storage.database import Database
from service.storage.installation import CallCount, Heartbeat, Keyset
from service.storage.migrations import migrate, newest_revision
from service.storage.move import Mover, Progress, moved_tables
from service.storage.moves import ONLY, Move, MoveState, refuse_if_moved
from service.storage.tables import Recovery, Tenant
from tests.storage.filling import fill
from tests.support.clock import FakeClock
from tests.support.rows import NOW, a_recovery, a_tenant, an_endpoint, an_idempotency_key, store, stored
from tests.support.waiting import wait_until

# Several batches of deliveries and attempts, and two full ones of what there is one of for each training.
_DELIVERIES, _BATCH = 120, 15
THEN = datetime(2026, 2, 1, 10, 30, 15, 123_456, tzinfo=UTC)


@pytest.fixture
async def source(sqlite: Database) -> Database:
    """Rows in every table, with what a conversion might lose."""
    endpoints = [an_endpoint(f"whe_{name}_{number}", tenant=f"ten_{name}") for name in "ab" for number in (1, 2, 3)]
    odd = an_endpoint("whe_odd", url="https://receiver.example/Füße?q=%00")
    odd.retry_schedule, odd.caller_metadata = [0.1, 5e-324, 1e300], {"name": "Ω \u2028", "big": 2**62, "none": None}
    answered = an_idempotency_key("answered")
    answered.outcome = {"status": 202}
    under_way = an_idempotency_key("under way")
    await store(
        sqlite,
        *(a_tenant(f"ten_{name}") for name in "ab"),
        *endpoints,
        odd,
        answered,
        under_way,
        a_recovery(endpoint="whe_a_1"),
        Heartbeat(id=1, at=THEN),
        Keyset(id=1, sealed=bytes(range(256)), created_at=THEN, sealed_at=NOW),
        CallCount(day=date(2026, 3, 1), kind="poll", count=2**40),
        CallCount(day=date(2026, 3, 2), kind="poll", count=0),
    )
    await sqlite.run(lambda connection: fill(connection, _DELIVERIES))
    return sqlite


def mover(source: Database, target: Database, clock: FakeClock | None = None) -> Mover:
    return Mover(source, target, clock=clock or FakeClock(), rng=Random(), batch=_BATCH)


async def begun(source: Database, target: Database, *, batches: int = 0) -> Mover:
    """A move that so many batches were copied of."""
    one = mover(source, target)
    await one.begin("sqlite:///the/source", "postgresql://the/target")
    await copy(one, batches=batches)
    return one


async def copy(one: Mover, *, batches: int | None = None) -> list[Progress]:
    """Copy so many batches and no more, as one that is killed then; None: all."""
    told: list[Progress] = []
    if batches == 0:
        return told
    async for progress in one.copy():
        told.append(progress)
        # The first that is told of each table is what was there before.
        if len(told) - len({earlier.table for earlier in told}) == batches:
            break
    return told


async def moved(source: Database, target: Database) -> Mover:
    one = await begun(source, target)
    await copy(one)
    await one.complete()
    return one


async def everything(database: Database) -> dict[str, list[SQLModel]]:
    """All rows as the service reads them, but for the markers."""
    tables = {str(mapped.class_.__tablename__): mapped.class_ for mapped in Tenant._sa_registry.mappers}
    return {
        table.name: [row.model_dump() for row in await stored(database, tables[table.name])] for table in moved_tables()
    }


async def marks(source: Database, target: Database) -> tuple[str | None, str | None]:
    found = [await stored(database, Move) for database in (source, target)]
    return tuple(rows[0].state if rows else None for rows in found)  # type: ignore[return-value]


async def is_served(database: Database) -> bool:
    """Whether a gateway would start on it, at its migration and later."""
    try:
        await migrate(database)
    except ConfigurationError:
        with pytest.raises(ConfigurationError):
            await database.run(refuse_if_moved)
        return False
    await database.run(refuse_if_moved)
    return True


async def test_everything_arrives_as_it_was(source: Database, postgres: Database) -> None:
    before = await everything(source)
    assert all(before.values()), "a table without rows proves nothing"
    await moved(source, postgres)
    assert await everything(postgres) == before == await everything(source)


async def test_null_and_nothing_stay_apart_in_json(source: Database, postgres: Database) -> None:
    query = text("SELECT key, CAST(outcome AS TEXT) AS outcome FROM idempotency_keys")

    async def outcomes(database: Database) -> set[tuple[str, str | None]]:
        return await database.run(lambda connection: {tuple(row) for row in connection.execute(query)})

    before = await outcomes(source)
    assert {outcome for _, outcome in before} == {None, "null", '{"status": 202}'}
    await moved(source, postgres)
    assert await outcomes(postgres) == before


async def test_killed_after_each_batch_and_begun_again_it_loses_and_doubles_nothing(
    source: Database, postgres: Database
) -> None:
    before = await everything(source)
    tries = 0
    while True:
        tries += 1
        again = await begun(source, postgres)
        told = await copy(again, batches=tries % 3 + 1)
        assert await marks(source, postgres) == ("leaving", "arriving")
        assert not await is_served(source)
        assert not await is_served(postgres)
        if {progress.table for progress in told if progress.copied == progress.total} == set(before):
            break
    assert tries > 5
    await again.complete()
    assert await everything(postgres) == before


async def test_the_first_marker_alone_is_no_obstacle(source: Database, postgres: Database) -> None:
    """The process died before it had marked the source, which therefore may have changed since."""
    await store(postgres, Move(id=ONLY, name="mov_dead", state="arriving", other="x", began_at=NOW))
    assert await is_served(source)
    await moved(source, postgres)
    assert await everything(postgres) == await everything(source)


async def test_the_last_marker_is_set_when_it_is_given_again(source: Database, postgres: Database) -> None:
    await moved(source, postgres)
    await source.transaction(lambda unit: unit.session.exec(update(Move).values(state=MoveState.LEAVING)))
    # The target is at work already.
    await postgres.transaction(lambda unit: unit.session.exec(delete(CallCount)))
    again = mover(source, postgres)
    assert await again.begin("a", "b") is MoveState.COMPLETE
    await again.complete()
    assert await marks(source, postgres) == ("left", "complete")


async def test_one_is_served_before_and_the_other_after(source: Database, postgres: Database) -> None:
    assert await is_served(source)
    one = await begun(source, postgres)
    assert (await is_served(source), await is_served(postgres)) == (False, False)
    await copy(one)
    assert (await is_served(source), await is_served(postgres)) == (False, False)
    await one.complete()
    assert (await is_served(source), await is_served(postgres)) == (False, True)
    assert await marks(source, postgres) == ("left", "complete")


async def test_a_refusal_says_where_the_other_is_and_what_to_do(source: Database, postgres: Database) -> None:
    one = await begun(source, postgres, batches=1)
    with pytest.raises(ConfigurationError, match=r"being moved to postgresql://the/target: .* again, .*move --back"):
        await migrate(source)
    with pytest.raises(ConfigurationError, match=r"from sqlite:///the/source .* is not complete: .* again"):
        await migrate(postgres)
    await copy(one)
    await one.complete()
    with pytest.raises(ConfigurationError, match=r"moved to postgresql://the/target: set DATABASE_URL"):
        await migrate(source)


async def test_a_target_with_rows_is_refused_and_nothing_is_marked(source: Database, postgres: Database) -> None:
    await store(postgres, Heartbeat(id=1, at=THEN), a_tenant("ten_z"))
    with pytest.raises(ConfigurationError, match="not empty: there are rows in heartbeats, tenants"):
        await begun(source, postgres)
    assert await marks(source, postgres) == (None, None)
    assert await is_served(source)


async def test_a_gateway_that_starts_on_the_target_at_the_same_moment_ends_the_move(
    source: Database, postgres: Database
) -> None:
    """Its first row comes right after the first look at the target, as the trigger sees to."""
    function = "CREATE FUNCTION start_at_once() RETURNS trigger AS $$ BEGIN {} RETURN NEW; END $$ LANGUAGE plpgsql"
    await execute(postgres, function.format("INSERT INTO heartbeats (id, at) VALUES (1, now());"))
    trigger = "CREATE TRIGGER start_at_once AFTER INSERT ON moves FOR EACH ROW EXECUTE FUNCTION start_at_once()"
    await execute(postgres, trigger)
    try:
        with pytest.raises(ConfigurationError, match="not empty: there are rows in heartbeats"):
            await begun(source, postgres)
        assert await marks(source, postgres) == (None, None)
    finally:
        await execute(postgres, "DROP FUNCTION start_at_once CASCADE")


async def execute(database: Database, statement: str) -> None:
    await database.run(lambda connection: connection.execute(text(statement)))


async def test_another_source_does_not_go_on_with_a_move(
    source: Database, postgres: Database, empty_sqlite_url: str
) -> None:
    other = Database(empty_sqlite_url)
    await migrate(other)
    for batches in (1, None):
        one = await begun(source, postgres)
        await copy(one, batches=batches)
        with pytest.raises(
            ConfigurationError, match="moved there from sqlite:///the/source, and this is another source"
        ):
            await begun(other, postgres)
    assert await is_served(other)
    await other.close()


async def test_a_move_does_not_go_on_in_another_target(source: Database, postgres: Database) -> None:
    await begun(source, postgres, batches=2)
    before = await stored(postgres, Move)
    await _forget(postgres)
    with pytest.raises(
        ConfigurationError, match="being moved to postgresql://the/target, and this target knows nothing"
    ):
        await begun(source, postgres)
    assert before


async def _forget(database: Database) -> None:
    """As if it were another database, empty."""

    def work(connection: Connection) -> None:
        for table in reversed(SQLModel.metadata.sorted_tables):
            connection.execute(table.delete())

    await database.run(work)


async def test_a_row_that_somebody_else_wrote_into_the_target_stops_it(source: Database, postgres: Database) -> None:
    one = await begun(source, postgres, batches=1)
    await store(postgres, Keyset(id=1, sealed=b"another's", created_at=NOW, sealed_at=NOW))
    with pytest.raises(MoveFailed, match="does not take the rows of keysets: duplicate key") as failed:
        await copy(one)
    assert "\n" not in str(failed.value)
    assert await marks(source, postgres) == ("leaving", "arriving")


@pytest.mark.parametrize("where", ["source", "target"])
async def test_counts_that_differ_leave_it_incomplete(source: Database, postgres: Database, where: str) -> None:
    one = await begun(source, postgres)
    await copy(one)
    changed = source if where == "source" else postgres
    await changed.transaction(lambda unit: unit.session.exec(delete(Recovery)))
    with pytest.raises(MoveFailed, match=r"rows in recoveries, the target \d: somebody else changed"):
        await one.complete()
    assert not await is_served(postgres)
    assert not await is_served(source)


async def test_of_two_that_copy_at_once_one_goes_on(source: Database, postgres: Database) -> None:
    first, second = await begun(source, postgres), await begun(source, postgres)
    copying = second.copy()
    await anext(copying)  # it knows by now how far the first one is
    await copy(first)
    with pytest.raises(MoveFailed, match="another `move` works on it"):
        async for _ in copying:
            pass
    await first.complete()
    assert await everything(postgres) == await everything(source)


async def test_the_older_schema_of_a_source_is_brought_to_the_newest(empty_sqlite_url: str, postgres: Database) -> None:
    source = Database(empty_sqlite_url)

    def as_before(connection: Connection) -> None:
        migrations.upgrade(connection, "0005")
        connection.exec_driver_sql(
            "INSERT INTO tenants (id, sealed_signing_secret, event_position, created_at) "
            "VALUES ('ten_old', x'00', 7, '2026-02-01 10:30:15.123456')"
        )

    await source.migrate(as_before)
    await mover(source, postgres).prepare()
    await moved(source, postgres)
    assert await migrate(postgres) == (newest_revision(), newest_revision())
    [tenant] = await stored(postgres, Tenant)
    assert (tenant.id, tenant.event_position, tenant.created_at) == ("ten_old", 7, THEN)
    await source.close()


class TestTakenBack:
    async def test_in_the_middle(self, source: Database, postgres: Database) -> None:
        before = await everything(source)
        await begun(source, postgres, batches=3)
        await mover(source, postgres).take_back(force=False)
        assert await marks(source, postgres) == (None, "withdrawn")
        assert (await is_served(source), await is_served(postgres)) == (True, False)
        assert await everything(source) == before
        with pytest.raises(ConfigurationError, match="taken back: give an empty database"):
            await begun(source, postgres)
        await _forget(postgres)
        await moved(source, postgres)
        assert await everything(postgres) == before

    async def test_after_the_end_while_nothing_has_run_there(self, source: Database, postgres: Database) -> None:
        await moved(source, postgres)
        await mover(source, postgres).take_back(force=False)
        assert (await is_served(source), await is_served(postgres)) == (True, False)

    async def test_what_a_gateway_did_on_the_target_is_given_up_by_force_only(
        self, source: Database, postgres: Database
    ) -> None:
        await moved(source, postgres)
        await postgres.beat(THEN + timedelta(days=1))
        with pytest.raises(ConfigurationError, match="would be lost: add --force"):
            await mover(source, postgres).take_back(force=False)
        assert (await is_served(source), await is_served(postgres)) == (False, True)
        await _by_force(source, postgres)
        assert (await is_served(source), await is_served(postgres)) == (True, False)

    async def test_not_even_by_force_while_a_gateway_runs_there(self, source: Database, postgres: Database) -> None:
        await moved(source, postgres)
        await postgres.beat(THEN + timedelta(days=1))
        with pytest.raises(ConfigurationError, match="is running on the target"):
            await _by_force(source, postgres, beats=True)
        assert (await is_served(source), await is_served(postgres)) == (False, True)

    async def test_when_the_target_knows_nothing_of_it_by_force_only(
        self, source: Database, postgres: Database
    ) -> None:
        await moved(source, postgres)
        await _forget(postgres)
        with pytest.raises(ConfigurationError, match="knows nothing of it"):
            await mover(source, postgres).take_back(force=False)
        await mover(source, postgres).take_back(force=True)
        assert await is_served(source)

    @pytest.mark.parametrize("place", ["127.0.0.1:9/x", "absent"])
    async def test_when_the_target_is_gone_by_force_only(
        self, source: Database, postgres: Database, postgres_url: str, place: str
    ) -> None:
        await moved(source, postgres)
        server = postgres_url.rpartition("/")[0]
        gone = Database(f"{server}/absent" if place == "absent" else f"postgresql://x@{place}")
        with pytest.raises(
            ConfigurationError, match=r"which can't be asked \(.*(does not exist|refused|failed).*--force"
        ):
            await mover(source, gone).take_back(force=False)
        assert not await is_served(source)
        await mover(source, gone).take_back(force=True)
        assert await is_served(source)
        await gone.close()

    async def test_what_is_not_moved_is_not_taken_back(self, source: Database, postgres: Database) -> None:
        with pytest.raises(ConfigurationError, match="nothing to take back"):
            await mover(source, postgres).take_back(force=True)

    async def test_a_try_that_died_in_between_is_given_again(self, source: Database, postgres: Database) -> None:
        await begun(source, postgres, batches=1)
        await postgres.transaction(lambda unit: unit.session.exec(update(Move).values(state=MoveState.WITHDRAWN)))
        with pytest.raises(ConfigurationError, match="give the same `move --back` again"):
            await begun(source, postgres)
        await mover(source, postgres).take_back(force=False)
        assert await is_served(source)


async def _by_force(source: Database, postgres: Database, *, beats: bool = False) -> None:
    """It waits for two beats of a gateway; whether they come is the test's choice."""
    clock = FakeClock()
    taking = asyncio.create_task(mover(source, postgres, clock).take_back(force=True))
    await wait_until(lambda: bool(clock._sleepers) or taking.done(), what="the watch for beats")
    if beats:
        await postgres.beat(THEN + timedelta(days=1, seconds=2))
    clock.advance(6)
    await taking
