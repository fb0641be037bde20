"""What a claim of trainings leaves alone: polled just now, under way, paused, and more than its tenant's share."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage.database import Database
from service.storage.due_training import DueTraining, PollLimits
from service.storage.tables import Training
from tests.support.rows import LEASE, NOW, a_tenant, a_training, store, stored

SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
INTERVAL = timedelta(seconds=300)


async def claimed(
    database: Database, limits: PollLimits, *, now: datetime = NOW, limit: int = 100
) -> list[DueTraining]:
    return list(
        await database.transaction(
            lambda unit: unit.trainings.claim_due(now=now, lease_for=LEASE, limit=limit, limits=limits)
        )
    )


def ids(due: Iterable[DueTraining]) -> list[str]:
    return sorted(training.id for training in due)


def polled_at(id: str, at: datetime | None, *, tenant: str = "ten_a") -> Training:
    row = a_training(id, tenant=tenant, due_at=NOW - SECOND)
    row.last_polled_at = at
    return row


class TestPolledJustNow:
    @pytest.mark.parametrize(
        ("ago", "again"),
        [
            pytest.param(None, True, id="never polled"),
            pytest.param(timedelta(0), False, id="now"),
            pytest.param(SECOND, False, id="a moment ago"),
            pytest.param(0.8 * INTERVAL - MICROSECOND, False, id="just less than 0.8 of an interval ago"),
            pytest.param(0.8 * INTERVAL, True, id="0.8 of an interval ago"),
            pytest.param(timedelta(days=9), True, id="days ago"),
            # The wall clock was put back since, and a little is no sign of that.
            pytest.param(-SECOND, False, id="a moment ahead"),
            pytest.param(-INTERVAL, False, id="one interval ahead"),
            pytest.param(-INTERVAL - MICROSECOND, True, id="more than an interval ahead"),
            pytest.param(timedelta(days=-9), True, id="days ahead"),
        ],
    )
    async def test_a_model_is_not_polled_again_too_soon(
        self, database: Database, ago: timedelta | None, again: bool
    ) -> None:
        await store(database, a_tenant(), polled_at("trn_1", None if ago is None else NOW - ago))
        assert ids(await claimed(database, PollLimits(INTERVAL))) == (["trn_1"] if again else [])

    async def test_what_is_left_out_stays_due_and_takes_nobodys_place(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            *(polled_at(f"trn_just_{number}", NOW) for number in range(5)),
            *(polled_at(f"trn_long_ago_{number}", NOW - INTERVAL) for number in range(2)),
        )
        assert ids(await claimed(database, PollLimits(INTERVAL), limit=2)) == ["trn_long_ago_0", "trn_long_ago_1"]
        rows = {row.id: (row.due_at, row.fence) for row in await stored(database, Training)}
        assert {rows[f"trn_just_{number}"] for number in range(5)} == {(NOW - SECOND, 0)}


class TestPaused:
    @pytest.mark.parametrize(
        ("until", "polled"),
        [(None, True), (NOW - SECOND, True), (NOW, True), (NOW + MICROSECOND, False), (NOW + INTERVAL, False)],
        ids=["never", "over", "over just now", "a moment more", "an interval more"],
    )
    async def test_a_paused_key_polls_nothing_until_its_pause_is_over(
        self, database: Database, until: datetime | None, polled: bool
    ) -> None:
        paused = a_tenant("ten_a")
        paused.polls_paused_until = until
        await store(
            database, paused, a_tenant("ten_b"), a_training("trn_a"), a_training("trn_of_another", tenant="ten_b")
        )
        assert ids(await claimed(database, PollLimits())) == ["trn_a"] * polled + ["trn_of_another"]


class TestShares:
    @staticmethod
    async def fill(database: Database, **overdue: int) -> None:
        """So many trainings of each tenant, those of the first tenant due longest."""
        await store(database, *(a_tenant(f"ten_{name}") for name in overdue))
        await store(
            database,
            *(
                a_training(f"trn_{name}_{number:04}", tenant=f"ten_{name}", due_at=NOW - (9 - place) * SECOND)
                for place, (name, count) in enumerate(overdue.items())
                for number in range(count)
            ),
        )

    async def test_no_tenant_has_more_under_way_than_its_share(self, database: Database) -> None:
        await self.fill(database, a=10, b=2)
        due = await claimed(database, PollLimits(per_tenant=4))
        assert Counter(training.tenant_id for training in due) == {"ten_a": 4, "ten_b": 2}

    async def test_what_is_under_way_counts(self, database: Database) -> None:
        await self.fill(database, a=10, b=10)
        limits = PollLimits(busy={"trn_a_0000": "ten_a", "trn_a_0001": "ten_a", "trn_b_0000": "ten_b"}, per_tenant=4)
        due = await claimed(database, limits)
        assert Counter(training.tenant_id for training in due) == {"ten_a": 2, "ten_b": 3}
        assert not {training.id for training in due} & limits.busy.keys()

    async def test_a_tenant_is_left_out_until_enough_of_its_share_is_free(self, database: Database) -> None:
        await self.fill(database, a=10)
        three_under_way = {f"trn_a_{number:04}": "ten_a" for number in range(3)}
        assert await claimed(database, PollLimits(busy=three_under_way, per_tenant=4, refill=2)) == []
        two_under_way = {f"trn_a_{number:04}": "ten_a" for number in range(2)}
        assert len(await claimed(database, PollLimits(busy=two_under_way, per_tenant=4, refill=2))) == 2

    async def test_without_a_share_everything_due_is_claimed(self, database: Database) -> None:
        await self.fill(database, a=10)
        assert len(await claimed(database, PollLimits())) == 10

    async def test_what_is_beyond_the_share_is_neither_leased_nor_lost(self, database: Database) -> None:
        await self.fill(database, a=3)
        first = await claimed(database, PollLimits(per_tenant=2))
        rest = [row for row in await stored(database, Training) if row.id not in {due.id for due in first}]
        assert [(row.due_at, row.fence) for row in rest] == [(NOW - 9 * SECOND, 0)]
        assert ids(await claimed(database, PollLimits(per_tenant=2))) == [rest[0].id]

    async def test_a_tenant_with_very_many_overdue_trainings_does_not_keep_another_from_its_turn(
        self, database: Database
    ) -> None:
        await self.fill(database, crowd=1000, other=1)
        busy: dict[str, str] = {}
        claims = 0
        while "trn_other_0000" not in busy:
            claims += 1
            due = await claimed(database, PollLimits(INTERVAL, dict(busy), per_tenant=4), limit=15)
            busy |= {training.id: training.tenant_id for training in due}
        # The crowd has its share under way after the first, and is out of the way at the second.
        assert claims == 2
        assert Counter(busy.values()) == {"ten_crowd": 4, "ten_other": 1}


@given(
    per_tenant=st.integers(1, 9),
    refill=st.integers(1, 9),
    busy=st.lists(st.sampled_from(["ten_a", "ten_b", "ten_c"]), max_size=30),
)
def test_room_is_what_is_left_of_a_share_once_that_is_worth_a_claim(
    per_tenant: int, refill: int, busy: list[str]
) -> None:
    under_way = {f"trn_{number}": tenant for number, tenant in enumerate(busy)}
    limits = PollLimits(busy=under_way, per_tenant=per_tenant, refill=refill)
    room = limits.room()
    assert room.keys() == set(busy)
    for tenant, free in room.items():
        left = per_tenant - busy.count(tenant)
        assert free == (left if left >= refill else 0)
    assert PollLimits(busy=under_way).room() == {}
