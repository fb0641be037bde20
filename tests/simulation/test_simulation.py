"""200 seeds of the simulation, and what it rests on. Before a release: `make simulate SEEDS=10000`."""

import asyncio
import random

import pytest

from tests.simulation.campaign import attempt, replay
from tests.simulation.scenario import simulate
from tests.simulation.virtual_time import DeadlockError, VirtualClock, VirtualTimeLoop

SEEDS = 200
BATCH = 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(1, SEEDS + 1, BATCH))
def test_every_promise_holds(first: int) -> None:
    for seed in range(first, first + BATCH):
        outcome = attempt(seed)
        assert outcome.report is not None, outcome.trouble


@pytest.mark.parametrize("seed", [pytest.param(20311, id="suspended, and its model is gone")])
def test_what_it_once_found(seed: int) -> None:
    outcome = attempt(seed)
    assert outcome.report is not None, outcome.trouble


def test_a_seed_is_the_same_run_again() -> None:
    seed = random.Random(5).randrange(10_000)
    assert simulate(seed) == simulate(seed)


def test_a_failing_seed_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.judge.Judge.final", lambda judge: judge._must(False, "planted"))
    outcome = attempt(1)
    assert outcome.report is None
    assert "planted" in outcome.trouble
    assert replay(1) in outcome.trouble


def test_hours_pass_in_no_time() -> None:
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop)

    async def wait() -> float:
        before = clock.now()
        async with asyncio.timeout(10_000):
            await clock.sleep(7200)
        return (clock.now() - before).total_seconds()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(wait()) == 7200


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(DeadlockError):
        runner.run(asyncio.Event().wait())
