"""The call counter, on a real gateway core: each call by its kind, what a loop would have called, and none lost."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support import gateway as support
from tests.support.gateway import Gateway

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway

MINUTE = 60
FIRST_DAY = dt.date(2020, 1, 1)


def metric(gateway: Gateway, line: str) -> float:
    """The value of the metric of this name and these labels."""
    lines = gateway.components.metrics.exposition().decode().splitlines()
    return float(next(found.removeprefix(line + " ") for found in lines if found.startswith(line + " ")))


def calls(gateway: Gateway, kind: str) -> float:
    return metric(gateway, f'photogpt_webhooks_upstream_calls_total{{kind="{kind}"}}')


async def stored(gateway: Gateway) -> dict[str, int]:
    return await gateway.components.database.read(lambda unit: unit.call_counts.since(FIRST_DAY))


async def trained(gateway: Gateway, minutes: int) -> None:
    """A training that ends after so many minutes, and is polled until then."""
    await gateway.started()
    for _ in range(minutes // 6):
        gateway.advance(6 * MINUTE)
        await gateway.poll()
    await gateway.upstream.say("ready")
    gateway.advance(6 * MINUTE)
    await gateway.poll()


async def test_calls_are_counted_by_kind_and_against_those_of_a_loop(gateway: Gateway) -> None:
    await trained(gateway, 18)
    assert (calls(gateway, "baseline"), calls(gateway, "trigger"), calls(gateway, "poll")) == (1, 1, 4)
    assert calls(gateway, "passed_on") == 0
    # 24 minutes at one call in five.
    assert metric(gateway, "photogpt_webhooks_loop_calls_total") == 5


async def test_what_was_counted_is_added_to_the_database_once(gateway: Gateway) -> None:
    await trained(gateway, 18)
    counter = gateway.components.calls
    await counter.save()
    await counter.save()
    assert await stored(gateway) == {"baseline": 1, "loops": 5, "poll": 4, "trigger": 1}


async def test_it_is_saved_once_in_a_while(gateway: Gateway) -> None:
    counter = gateway.components.calls
    assert len((await counter.claim(1)).items) == 1
    gateway.advance(29)
    assert len((await counter.claim(1)).items) == 0
    gateway.advance(2)
    assert len((await counter.claim(1)).items) == 1


async def test_what_could_not_be_saved_is_saved_with_the_next(gateway: Gateway) -> None:
    counter, database = gateway.components.calls, gateway.components.database
    await gateway.started()
    await database.run(
        lambda connection: connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON call_counts BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    )
    with pytest.raises(IntegrityError, match="no room"):
        await counter.save()
    assert await stored(gateway) == {}
    await database.run(lambda connection: connection.exec_driver_sql("DROP TRIGGER full"))
    await gateway.upstream.put_model("another")
    await gateway.started("another")
    await counter.save()
    assert (await stored(gateway))["trigger"] == 2


async def test_a_drained_gateway_has_saved_what_it_counted(gateway: Gateway) -> None:
    await gateway.started()
    await gateway.components.drain()
    assert (await stored(gateway))["trigger"] == 1
