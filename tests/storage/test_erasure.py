"""Keys that no training needs: found, erased for good, and gone from the files (promise 7, failure model C14)."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from service.domain.training import Status
from service.pruner import KeySweep, _erase
from service.storage.database import Database
from service.storage.tables import Tenant
from tests.storage.plans import plan_of
from tests.support.clock import FakeClock
from tests.support.rows import a_tenant, a_training, store, stored

CIPHERTEXT = b"the sealed key of ten_a, which must be gone from the files"


def sweep(database: Database, clock: FakeClock | None = None) -> KeySweep:
    return KeySweep(database=database, clock=clock or FakeClock())


async def keys(database: Database) -> dict[str, bytes | None]:
    return {tenant.id: tenant.sealed_key for tenant in await stored(database, Tenant)}


async def test_it_erases_the_keys_of_all_who_have_no_active_training(database: Database) -> None:
    await store(database, *(a_tenant(f"ten_{name}") for name in "abcd"), a_tenant("ten_e", sealed_key=None))
    await store(
        database,
        a_training("trn_1", tenant="ten_a"),
        a_training("trn_2", tenant="ten_a", status=Status.READY),
        a_training("trn_3", tenant="ten_b", status=Status.READY),
        a_training("trn_4", tenant="ten_c", status=Status.EXPIRED),
        a_training("trn_5", tenant="ten_d", suspended=True),
    )
    for _ in range(2):
        await sweep(database).erase(0)
        kept = {tenant for tenant, key in (await keys(database)).items() if key is not None}
        assert kept == {"ten_a", "ten_d"}


async def test_it_erases_any_number(database: Database) -> None:
    await store(database, *(a_tenant(f"ten_{number:03}") for number in range(450)))
    await sweep(database).erase(0)
    assert set((await keys(database)).values()) == {None}


async def test_replicas_may_do_it_at_once(database: Database, database_url: str) -> None:
    await store(database, *(a_tenant(f"ten_{number:02}") for number in range(50)), a_training(tenant="ten_07"))
    databases = [Database(database_url) for _ in range(3)]
    await asyncio.gather(*(sweep(one).erase(0) for one in databases))
    assert [tenant for tenant, key in (await keys(database)).items() if key] == ["ten_07"]
    for one in databases:
        await one.close()


async def test_it_looks_twice_a_minute(database: Database) -> None:
    clock = FakeClock()
    one = sweep(database, clock)
    looks = 0
    for _ in range(600):
        looks += len((await one.claim(1)).items)
        clock.advance(1)
    assert looks == 20
    clock.jump(-100_000)
    clock.advance(30)
    assert len((await one.claim(1)).items) == 1


async def test_only_tenants_with_a_key_are_looked_at(database: Database) -> None:
    """By an index that has no others in it, and active trainings by theirs."""
    plan = await plan_of(database, lambda unit: unit.tenants.with_idle_key(200), small=True)
    assert plan.indexes("tenants") == {"ix_tenants_key"}
    assert plan.indexes("trainings") == {"uq_trainings_active"}
    assert (plan.read_whole, plan.sorted_rows) == (set(), 0)


# --- the files of SQLite ---


def holds(url: str, part: bytes) -> list[str]:
    path = Path(url.removeprefix("sqlite:///"))
    return [file.name for file in path.parent.glob(f"{path.name}*") if part in file.read_bytes()]


async def test_an_erased_key_is_gone_from_the_database_and_its_log(sqlite: Database, sqlite_url: str) -> None:
    await store(sqlite, a_tenant(sealed_key=CIPHERTEXT), a_training())
    assert await sqlite.scrub()
    assert holds(sqlite_url, CIPHERTEXT) == ["gateway.db"]

    def end(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE trainings SET finished_at = created_at")

    await sqlite.run(end)
    await sqlite.transaction(lambda unit: unit.tenants.erase_key_if_idle("ten_a"))
    assert holds(sqlite_url, CIPHERTEXT) == ["gateway.db"], "it would prove nothing"
    await sweep(sqlite).erase(0)
    assert holds(sqlite_url, CIPHERTEXT) == []


async def test_nothing_of_what_is_deleted_stays_in_the_file(sqlite: Database, sqlite_url: str) -> None:
    """Among many others, of which pages are split, merged and freed."""
    tenants = [a_tenant(f"ten_{number:04}", sealed_key=CIPHERTEXT * (1 + number % 200)) for number in range(500)]
    await store(sqlite, *tenants)
    await sqlite.scrub()
    await sweep(sqlite).erase(0)
    assert holds(sqlite_url, CIPHERTEXT) == []


async def test_a_reader_makes_it_wait_a_moment_only_and_the_next_time_it_is_done(
    sqlite: Database, sqlite_url: str
) -> None:
    await store(sqlite, a_tenant(sealed_key=CIPHERTEXT))
    reading, done = threading.Event(), threading.Event()

    def read(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT count(*) FROM tenants").all()
        reading.set()
        assert done.wait(30)

    reader = asyncio.create_task(sqlite._runner.read(read))
    await asyncio.get_running_loop().run_in_executor(None, reading.wait)
    await asyncio.wait_for(sweep(sqlite).erase(0), 5)
    assert not await sqlite.scrub()
    assert (await keys(sqlite))["ten_a"] is None
    done.set()
    await reader
    await sweep(sqlite).erase(0)
    assert holds(sqlite_url, CIPHERTEXT) == []


async def test_a_database_that_is_gone_is_left_alone(sqlite: Database, sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    assert not await sqlite.scrub()


@pytest.mark.parametrize("end", [Status.READY, Status.FAILED])
async def test_a_training_that_began_meanwhile_keeps_its_key(database: Database, end: Status) -> None:
    await store(database, a_tenant(), a_training("trn_1", status=end))
    idle = await database.read(lambda unit: unit.tenants.with_idle_key(9))
    await store(database, a_training("trn_2"))
    assert idle == ["ten_a"]
    await database.transaction(partial(_erase, idle))
    assert (await keys(database))["ten_a"] is not None
