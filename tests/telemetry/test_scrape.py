"""What a scrape costs does not grow with the rows: measured with a thousand and with very many (`--scraped`).

`make campaign` takes a million. Times are printed; what is asserted are counts: no unit of work, and the same series.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
import pytest
from sqlalchemy import Connection

from service.app import create_health_app
from service.census import Census
from service.storage.database import Database, UnitOfWork
from service.storage.sqlite import Sqlite
from tests.support.clock import FakeClock
from tests.support.gateway import Gateway, World
from tests.support.rows import a_tenant, store
from tests.telemetry.reading import parsed, series, value

T = TypeVar("T")

FEW, SCRAPES = 1000, 30
# One in a hundred is being trained, as where trainings of half an hour are kept for some days; and all of them.
SHARES = (100, 1)
_ROWS = """
    WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < {rows})
    INSERT INTO trainings (id, tenant_id, model_id, status, left_baseline, overdue, suspended, not_found_count,
      key_refused_count, readings, caller_metadata, sequence, created_at, finished_at, due_at, fence)
    SELECT 'trn_' || printf('%026d', n), 'ten_scraped', 'model_' || n, CASE WHEN n < {active} THEN 'training' ELSE
      'ready' END, true, n % 10 = 0, n % 5 = 0, 0, 0, 1, '{{}}', 1, {then}, CASE WHEN n >= {active} THEN {then} END,
      CASE WHEN n < {active} THEN {then} END, 0 FROM series
"""
_THEN = "'2026-11-22 11:00:00.000000'"


@dataclass(frozen=True)
class Cost:
    """Milliseconds: of a scrape, as the median of some, and of the processor for one; and of counting the rows."""

    rows: int
    active: int
    scrape: float
    cpu: float
    census: float
    series: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows, {self.active:,} of them active: scrape {self.scrape:.1f} ms "
            f"({self.cpu:.1f} ms of processor), {self.series} series; "
            f"rows counted in {self.census:.1f} ms"
        )


async def fill(gateway: Gateway, rows: int, active: int) -> None:
    """So many trainings, and no others."""

    def replace(unit: UnitOfWork) -> None:
        connection = unit.session.connection()
        connection.exec_driver_sql("DELETE FROM trainings")
        connection.exec_driver_sql(_ROWS.format(rows=rows, active=active, then=_THEN))

    await gateway.components.database.transaction(replace)


async def measured(gateway: Gateway, rows: int, active: int) -> Cost:
    await fill(gateway, rows, active)
    began = time.perf_counter()
    await gateway.components.loops.census._work(None)
    census = time.perf_counter() - began
    before = units_of_work(gateway)
    times: list[float] = []
    said = ""
    transport = httpx.ASGITransport(app=create_health_app(gateway.components))
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as http:
        cpu = time.process_time()
        for _ in range(SCRAPES):
            began = time.perf_counter()
            said = (await http.get("/metrics")).raise_for_status().text
            times.append(time.perf_counter() - began)
        cpu = (time.process_time() - cpu) / SCRAPES
    assert units_of_work(gateway) == before
    return Cost(rows, active, statistics.median(times) * 1000, cpu * 1000, census * 1000, len(parsed(said)))


def units_of_work(gateway: Gateway) -> float:
    name = "photogpt_webhooks_database_duration_seconds_count"
    return sum(count for (found, _), count in series(gateway.components).items() if found == name)


@pytest.mark.timeout(1800)
async def test_a_scrape_costs_no_query_and_is_as_long_however_many_rows_there_are(
    gateway: Gateway, pytestconfig: pytest.Config
) -> None:
    parts, many = gateway.components, int(pytestconfig.getoption("--scraped"))
    await store(parts.database, a_tenant("ten_scraped"))
    costs = []
    for rows in (FEW, many):
        for share in SHARES:
            cost = await measured(gateway, rows, rows // share)
            assert value(parts, "trainings", status="training") == cost.active
            assert value(parts, "trainings_overdue") == cost.active / 10
            assert value(parts, "trainings_suspended") == cost.active / 5
            costs.append(cost)
            sys.stdout.write(f"\n{cost}")
    assert len({cost.series for cost in costs}) == 1


class _Slow(Sqlite):
    """Whoever reads takes two seconds."""

    def __init__(self, url: str, clock: FakeClock) -> None:
        super().__init__(url)
        self._clock = clock

    async def read(self, work: Callable[[Connection], T]) -> T:
        self._clock.advance(2)
        return await super().read(work)


async def test_rows_are_counted_now_and_then_and_seldom_when_it_takes_long(world: World, gateway: Gateway) -> None:
    database = Database(_Slow(f"sqlite:///{world.database}", gateway.clock))
    metrics = gateway.components.metrics
    census = Census(database=database, metrics=metrics, clock=gateway.clock)

    async def comes() -> bool:
        return len((await census.claim(1)).items) == 1

    assert await comes()
    gateway.advance(14)
    assert not await comes()
    gateway.advance(1)
    assert await comes()
    await census.count()
    assert value(gateway.components, "census_duration_seconds") == 2
    gateway.advance(197)
    assert not await comes()
    gateway.advance(1)
    assert await comes()
    await database.close()
