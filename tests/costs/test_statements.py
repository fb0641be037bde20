"""Statements, savepoints, commits and calls of one training: from its request through two polls to its webhook."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.costs.bounds import LAST_POLL, POLL, REQUEST, WEBHOOK, WHAT_ONE_TRAINING_COSTS, Cost
from tests.costs.conftest import Heard
from tests.costs.counting import Statements, listening_to_sqlite
from tests.support.gateway import Gateway, drive

_LONGER_THAN_AN_INTERVAL = 400.0


async def one_training(gateway: Gateway, model_id: str, step: Callable[[str], Awaitable[None]]) -> None:
    """`step` is told the name of each step when it is done."""
    upstream, hook = gateway.upstream, gateway.receiver.hook()
    await upstream.put_model(model_id)
    await step("before")
    await gateway.started(model_id, callback_url=hook)
    await step(REQUEST)
    for status, name in (("training", POLL), ("ready", LAST_POLL)):
        await upstream.say(status, model_id)
        gateway.advance(_LONGER_THAN_AN_INTERVAL)
        assert await drive(gateway.components.loops.polls) == 1
        await step(name)
    assert await drive(gateway.components.loops.deliveries) == 1
    await step(WEBHOOK)


async def test_one_training_costs_what_the_table_says(heard: Heard) -> None:
    calls, spent, texts = 0, {}, {}

    async def step(name: str) -> None:
        nonlocal calls
        before, calls = calls, len(await heard.gateway.upstream.calls())
        run = heard.ear.take()
        spent[name] = Cost(len(run.texts), run.savepoints, run.commits, calls - before)
        texts[name] = run

    # The first is its tenant's first, too, and opens the connections.
    await one_training(heard.gateway, "model-1", step)
    await one_training(heard.gateway, "model-2", step)
    del spent["before"]
    assert len(await heard.gateway.receiver.received()) == 2
    assert spent == WHAT_ONE_TRAINING_COSTS[heard.database], told(texts, spent)


def told(texts: dict[str, Statements], spent: dict[str, Cost]) -> str:
    """For whoever reads the failure: what was counted, and what to look at first."""
    steps = [f"{name}: {cost}\n{texts[name]}" for name, cost in spent.items()]
    return "\n".join(["not what tests/costs/bounds.py says, which also says what to do; counted:", *steps])


def test_a_statement_is_heard_once_from_whichever_of_the_drivers_names_it_comes(tmp_path: Path) -> None:
    with listening_to_sqlite() as ear:
        for connect in (sqlite3.connect, sqlite3.dbapi2.connect):
            connection = connect(tmp_path / "a.db", isolation_level=None)
            for statement in (
                "BEGIN IMMEDIATE",
                "SAVEPOINT a",
                "SELECT\n  1",
                "RELEASE a",
                "COMMIT",
                "BEGIN",
                "COMMIT",
            ):
                connection.execute(statement)
            connection.close()
            run = ear.take()
            assert (run.texts, run.savepoints, run.commits) == (["SELECT 1"], 1, 1)
