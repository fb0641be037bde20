"""The order of deliveries: events of one training go to a target in order; targets don't wait for each other."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from service.domain.delivery import AttemptOutcome, Decision
from service.domain.event import EventType
from service.storage.database import Database
from tests.storage.sending import DEAD, DELIVERED, FAILED, OK, RETRY, SECOND, claim, record
from tests.support.rows import NOW, a_callback, a_delivery, a_tenant, a_training, an_endpoint, an_event, store


@pytest.mark.parametrize("target", ["cbk_1", "whe_1"])
class TestOrder:
    async def two_events(self, database: Database, *, targets: Sequence[str] = ("cbk_1",)) -> None:
        """For each target a delivery of a first and of a second event; the second has been due for longer."""
        await store(
            database,
            a_tenant(),
            a_training(),
            an_event("evt_1", type=EventType.OVERDUE, sequence=1),
            an_event("evt_2", type=EventType.READY, sequence=2),
        )
        for name in targets:
            endpoint = name if name.startswith("whe") else None
            await store(
                database,
                a_callback(name) if endpoint is None else an_endpoint(name),
                a_delivery(f"{name}_first", event="evt_1", callback=name, endpoint=endpoint, sequence=1),
                a_delivery(
                    f"{name}_second", event="evt_2", callback=name, endpoint=endpoint, sequence=2, due_at=NOW - SECOND
                ),
            )

    async def test_a_later_event_is_not_claimed_with_an_earlier_one(self, database: Database, target: str) -> None:
        await self.two_events(database, targets=[target])
        assert set(await claim(database)) == {f"{target}_first"}

    async def test_nor_while_the_earlier_one_is_under_way(self, database: Database, target: str) -> None:
        await self.two_events(database, targets=[target])
        await claim(database)
        assert await claim(database, now=NOW + SECOND) == {}

    async def test_nor_while_the_earlier_one_waits_for_its_next_attempt(self, database: Database, target: str) -> None:
        await self.two_events(database, targets=[target])
        due = (await claim(database))[f"{target}_first"]
        await record(database, due, FAILED, RETRY)
        assert await claim(database, now=NOW + timedelta(minutes=4)) == {}

    @pytest.mark.parametrize(("outcome", "decision"), [(OK, DELIVERED), (FAILED, DEAD)], ids=["delivered", "dead"])
    async def test_it_is_claimed_once_the_earlier_one_has_ended(
        self, database: Database, target: str, outcome: AttemptOutcome, decision: Decision
    ) -> None:
        await self.two_events(database, targets=[target])
        due = (await claim(database))[f"{target}_first"]
        await record(database, due, outcome, decision)
        assert set(await claim(database, now=NOW + SECOND)) == {f"{target}_second"}

    async def test_a_held_up_delivery_takes_no_place_in_the_batch(self, database: Database, target: str) -> None:
        await self.two_events(database, targets=[target])
        await store(database, a_callback("cbk_2"), a_delivery("cbk_2_first", callback="cbk_2", due_at=NOW))
        assert len(await claim(database, limit=2)) == 2


TARGETS = ["cbk_1", "cbk_2", "whe_1", "whe_2"]


class TestTargets:
    async def test_none_is_held_up_by_another(self, database: Database) -> None:
        await TestOrder().two_events(database, targets=TARGETS)
        due = await claim(database)
        assert set(due) == {f"{target}_first" for target in TARGETS}
        for target in ("cbk_1", "whe_1"):
            await record(database, due[f"{target}_first"], FAILED, RETRY)
        for target in ("cbk_2", "whe_2"):
            await record(database, due[f"{target}_first"], OK, DELIVERED)
        assert set(await claim(database, now=NOW + SECOND)) == {"cbk_2_second", "whe_2_second"}

    async def test_another_training_is_not_held_up(self, database: Database) -> None:
        """Nor an event of no training at all: order is promised per training."""
        await TestOrder().two_events(database, targets=["whe_1"])
        of_none = an_event("evt_0", type=EventType.ENDPOINT_DISABLED, sequence=0)
        of_none.training_id = None
        first = a_delivery("dlv_0", event="evt_0", endpoint="whe_1", sequence=0)
        first.training_id = None
        await store(
            database,
            of_none,
            first,
            a_training("trn_2"),
            an_event("evt_of_2", training="trn_2", sequence=2),
            a_delivery("dlv_2", event="evt_of_2", training="trn_2", endpoint="whe_1", sequence=2),
        )
        assert set(await claim(database)) == {"whe_1_first", "dlv_0", "dlv_2"}
