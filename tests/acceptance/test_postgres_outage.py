"""PostgreSQL goes away under load, for long or for a moment: 503 and nothing else, nothing lost, nothing done twice."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.history import judge_the_end
from tests.acceptance.load import Load, say, share_secret
from tests.acceptance.stack import Stack
from tests.storage.interleaving import in_another_thread
from tests.support.postgres import StoppablePostgres, stoppable_postgres
from tests.support.waiting import wait_until_sync

_RATE = 10
# What is promised, on a machine that does nothing else.
_LONGEST_HEALING = 10.0
_PATIENCE = 30.0
# Nobody's work is taken over while its outcome waits to be written.
_PATIENT = {"GATEWAY_LEASE": "60", "GATEWAY_UPSTREAM_TIMEOUT": "15", "GATEWAY_ATTEMPT_TIMEOUT": "15"}
_END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid > 0 AND pid <> pg_backend_pid()"
_MASTER_KEY = "bWFzdGVyIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGU="


@pytest.fixture
def server() -> Iterator[StoppablePostgres]:
    with stoppable_postgres(fsync="on", synchronous_commit="on", full_page_writes="on") as server:
        yield server


@pytest.fixture
def pg_stack(server: StoppablePostgres, tmp_path: Path) -> Iterator[Stack]:
    with ForkedChildren(tmp_path) as children:
        stack = Stack(children, server.url, room=1000, GATEWAY_MASTER_KEY=_MASTER_KEY, **_PATIENT)
        yield stack
        stack.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("crashes", [False, True], ids=["stopped", "crashed"])
def test_a_server_that_is_away_costs_503_and_nothing_else(
    server: StoppablePostgres, pg_stack: Stack, campaign: pytest.Config, crashes: bool
) -> None:
    stack, seconds = pg_stack, campaign.getoption("--postgres-seconds")
    share_secret(stack)
    with Load(stack, rate=_RATE) as load:
        with server.running():
            stack.start_gateway()
            wait_until_sync(lambda: len(load.acknowledged) > _RATE, what="load", timeout=_PATIENCE)
            if crashes:
                server.crash()
        time.sleep(seconds)
        assert stack.health.get("/livez").status_code == 200
        with server.running():
            healed = seconds_until_ready(stack)
            before = len(load.acknowledged)
            wait_until_sync(lambda: len(load.acknowledged) > before + _RATE, what="more load", timeout=_PATIENCE)
            load.stop()
            figures = judge_the_end(stack, load.acknowledged, crashes=1)
            assert stack.gateway.end() == 0
    assert healed < _LONGEST_HEALING
    say(f"{'crashed' if crashes else 'stopped'} for {seconds} s: {figures}; ready after {healed:.1f} s; {load.answers}")


@pytest.mark.timeout(600)
def test_connections_that_all_end_at_once_are_noticed_by_no_caller(
    server: StoppablePostgres, pg_stack: Stack, campaign: pytest.Config, campaign_random: random.Random
) -> None:
    stack, cuts = pg_stack, campaign.getoption("--postgres-cuts")
    share_secret(stack)
    with server.running():
        stack.start_gateway()
        with Load(stack, rate=_RATE) as load:
            for _ in range(cuts):
                time.sleep(campaign_random.uniform(0.3, 1.5))
                in_another_thread(lambda: end_all(server.url))
        figures = judge_the_end(stack, load.acknowledged, crashes=0)
        assert stack.gateway.end() == 0
    assert not [answer for answer in load.answers if not answer.startswith("409")], load.answers
    assert len(load.acknowledged) > cuts
    say(f"all connections ended {cuts} times: {figures}; {load.answers}")


def seconds_until_ready(stack: Stack) -> float:
    began = time.monotonic()
    wait_until_sync(stack.is_ready, what="the gateway to be ready again", timeout=_PATIENCE)
    return time.monotonic() - began


async def end_all(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_END_ALL)
    finally:
        await connection.close()


def test_a_database_that_is_missing_is_one_clear_line(server: StoppablePostgres, pg_stack: Stack) -> None:
    with server.running():
        pg_stack.spawn_gateway(DATABASE_URL=server.url.replace("/postgres", "/gateway"))
        assert pg_stack.end_gateway() == 1
    log = (pg_stack.folder / f"{pg_stack.gateway.name}.err").read_text().strip()
    assert log.splitlines()[-1] == 'error: The database PostgreSQL can\'t be used: database "gateway" does not exist.'
    assert "Traceback" not in log
