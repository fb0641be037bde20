"""What 1, 2 and 3 replicas do side by side: the figures are printed, and no row is worked twice."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle

import httpx
import pytest
from sqlmodel import select, update

from service.storage.database import Database
from service.storage.migrations import migrate
from service.storage.tables import Training
from tests.acceptance.history import rows, wait_for_the_end
from tests.acceptance.load import say, share_secret, train_request
from tests.acceptance.replicas import Replica, Replicas
from tests.acceptance.stack import Stack
from tests.support.rows import a_tenant, a_training, store

# Nobody loses a lease, however little is left of this machine: what is done twice is done twice for no reason.
_PATIENT = {"GATEWAY_LEASE": "60"}
_CALLERS = 32
_AT_ONCE = (1, 2, 3)
_TENANTS = 10
_ROWS_AT_ONCE = 5000


@pytest.fixture
def stack(postgres_stack: Stack) -> Stack:
    share_secret(postgres_stack)
    return postgres_stack


@pytest.mark.timeout(3600)
async def test_trainings_with_one_two_and_three_replicas(stack: Stack, campaign: pytest.Config) -> None:
    number = campaign.getoption("--side-by-side")
    replicas = Replicas(stack, 1, **_PATIENT)
    figures = []
    for size in _AT_ONCE:
        while len(replicas.all) < size:
            replicas.add()
        models = stack.models(number, f"beside{size}", duration_minutes=0)
        begun = time.monotonic()
        train_all(stack, replicas.all, models)
        wait_for_the_end(stack)
        figures.append(f"{size}: {number / (time.monotonic() - begun):.0f}")

    trained = len(_AT_ONCE) * number
    assert sum(stack.triggers().values()) == trained
    assert all(count == 1 for count in stack.triggers().values())
    worked = rows(stack.where, "SELECT d.attempts_started, d.attempts_made, d.status FROM deliveries d")
    assert worked == [{"attempts_started": 1, "attempts_made": 1, "status": "delivered"}] * trained
    assert len(stack.received("training.ready")) == trained
    assert replicas.said("poll_outdated") == replicas.said("attempt_outdated") == []
    say(f"completed trainings/s (polled after 1 s) with N replicas, {number} each: {', '.join(figures)}")


def train_all(stack: Stack, replicas: list[Replica], models: list[str]) -> None:
    with (
        httpx.Client(timeout=60, trust_env=False, limits=httpx.Limits(max_connections=_CALLERS)) as client,
        ThreadPoolExecutor(_CALLERS) as callers,
    ):

        def train(model: str, address: str | None) -> None:
            answer = client.post(f"{address}/v1/trainings", json=train_request(stack, model))
            assert answer.status_code == 202, answer.text

        list(callers.map(train, models, cycle([replica.address for replica in replicas])))


@pytest.mark.timeout(3600)
async def test_claims_with_one_two_and_three_processes(postgres_database_url: str, campaign: pytest.Config) -> None:
    number = campaign.getoption("--claimed")
    database = Database(postgres_database_url)
    await migrate(database)
    tenants = [f"ten_{tenant}" for tenant in range(_TENANTS)]
    await store(database, *(a_tenant(tenant) for tenant in tenants))
    ids = [f"trn_{training:08}" for training in range(number)]
    for first in range(0, number, _ROWS_AT_ONCE):
        some = ids[first : first + _ROWS_AT_ONCE]
        await store(
            database,
            *(a_training(name, tenant=tenants[place % _TENANTS]) for place, name in enumerate(some)),
        )

    all_due = update(Training).values(due_at=datetime.now(UTC))
    figures = []
    for size in _AT_ONCE:
        await database.transaction(lambda unit: unit.session.exec(all_due))
        claimed, seconds = claims(postgres_database_url, size)
        assert sorted(claimed) == ids
        figures.append(f"{size}: {number / seconds:.0f}")
    fences = await database.read(lambda unit: set(unit.session.exec(select(Training.fence)).all()))
    assert fences == {len(_AT_ONCE)}
    await database.close()
    say(f"claims/s with N processes, {number} rows: {', '.join(figures)}")


def claims(url: str, size: int) -> tuple[list[str], float]:
    """What so many processes claimed, until nothing was left, and how long that took."""
    command = [sys.executable, "-m", "tests.acceptance.claimer", url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(size)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    with ThreadPoolExecutor(size) as readers:
        answers = list(readers.map(lambda process: process.communicate("go\n")[0], processes))
    seconds = time.monotonic() - begun
    assert [process.returncode for process in processes] == [0] * size
    return [name for answer in answers for name in answer.split()], seconds
