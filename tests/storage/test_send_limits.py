"""What a claim leaves alone: hosts and tenants without room, more than their room in one claim, too many retries."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import SQLModel

from service.storage.database import Database
from service.storage.due_delivery import SendLimits
from tests.storage.sending import DEAD, FAILED, RETRY, SECOND, claim, deliveries, record
from tests.support.rows import LEASE, NOW, a_callback, a_delivery, a_tenant, a_training, an_event, store

HOSTS = ("a:443", "b:443", "c:443")


async def due_at_hosts(database: Database, hosts: Mapping[str, str], *, tried: frozenset[str] = frozenset()) -> None:
    """A due delivery of each name to its host, in this order, each of a callback of its own; `tried` before."""
    rows = []
    for number, (name, host) in enumerate(hosts.items()):
        row = a_delivery(name, callback=f"cbk_of_{name}", host=host, due_at=NOW - timedelta(hours=1) + number * SECOND)
        row.attempts_started = row.attempts_made = int(name in tried)
        rows.append(row)
    callbacks = [a_callback(f"cbk_of_{name}") for name in hosts]
    await store(database, a_tenant(), a_training(), an_event(), *callbacks, *rows)


class TestRooms:
    async def test_a_full_host_is_left_out_and_takes_no_place_in_the_batch(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443", "a2": "a:443", "b1": "b:443", "b2": "b:443"})
        limits = SendLimits(rooms={"a:443": 0, "b:443": 5}, others=8)
        assert set(await claim(database, limit=2, limits=limits)) == {"b1", "b2"}
        assert (await deliveries(database))["a1"].fence == 0

    async def test_less_than_no_room_is_none(self, database: Database) -> None:
        """A host's room may be made smaller while its attempts are under way."""
        await due_at_hosts(database, {"a1": "a:443"})
        assert await claim(database, limits=SendLimits(rooms={"a:443": -3}, others=8)) == {}

    async def test_a_room_is_used_up_inside_one_claim(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443", "a2": "a:443", "b1": "b:443", "a3": "a:443"})
        limits = SendLimits(rooms={"a:443": 2}, others=8)
        assert set(await claim(database, limits=limits)) == {"a1", "a2", "b1"}
        assert limits.rooms == {"a:443": 2}, "the rooms that were given were used up"

    async def test_what_did_not_fit_stays_due(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443", "a2": "a:443"})
        assert set(await claim(database, limits=SendLimits(rooms={"a:443": 1}, others=8))) == {"a1"}
        left = (await deliveries(database))["a2"]
        assert (left.due_at, left.fence, left.attempts_started) == (NOW - timedelta(hours=1) + SECOND, 0, 0)
        assert set(await claim(database, limits=SendLimits(rooms={"a:443": 1}, others=8))) == {"a2"}

    async def test_hosts_that_nothing_is_known_of_have_the_room_of_others(self, database: Database) -> None:
        await due_at_hosts(database, {f"{host}_{number}": host for number in range(4) for host in HOSTS})
        claimed = await claim(database, limits=SendLimits(rooms={"a:443": 3}, others=2))
        assert Counter(due.host for due in claimed.values()) == {"a:443": 3, "b:443": 2, "c:443": 2}

    async def test_the_port_is_part_of_the_host(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443", "a2": "a:8443"})
        assert set(await claim(database, limits=SendLimits(rooms={"a:443": 0}, others=8))) == {"a2"}

    async def test_without_others_there_is_no_bound(self, database: Database) -> None:
        await due_at_hosts(database, {f"a{number}": "a:443" for number in range(20)})
        assert len(await claim(database)) == 20


async def due_of_tenants(database: Database, owners: Sequence[str]) -> None:
    """A due delivery for each, in this order, named after its place; all of them at one host."""
    rows: list[SQLModel] = [a_tenant(tenant) for tenant in sorted(set(owners))]
    for number, tenant in enumerate(owners):
        name = str(number)
        due_at = NOW - timedelta(hours=1) + number * SECOND
        rows += [
            a_training(f"trn_{name}", tenant=tenant),
            a_callback(f"cbk_{name}", training=f"trn_{name}", tenant=tenant),
            an_event(f"evt_{name}", training=f"trn_{name}", tenant=tenant),
            a_delivery(
                name,
                event=f"evt_{name}",
                callback=f"cbk_{name}",
                training=f"trn_{name}",
                tenant=tenant,
                due_at=due_at,
            ),
        ]
    await store(database, *rows)


class TestTenants:
    async def test_one_at_its_limit_is_left_out_and_takes_no_place_in_the_batch(self, database: Database) -> None:
        await due_of_tenants(database, ["ten_a"] * 10 + ["ten_b"] * 2)
        limits = SendLimits(tenants={"ten_a": 0, "ten_b": 3}, per_tenant=5)
        assert set(await claim(database, limit=2, limits=limits)) == {"10", "11"}
        left = (await deliveries(database))["0"]
        assert (left.due_at, left.fence, left.attempts_started) == (NOW - timedelta(hours=1), 0, 0)

    async def test_its_room_is_used_up_inside_one_claim(self, database: Database) -> None:
        await due_of_tenants(database, ["ten_a", "ten_a", "ten_a", "ten_b", "ten_a", "ten_c", "ten_c"])
        limits = SendLimits(tenants={"ten_a": 2}, per_tenant=1)
        assert set(await claim(database, limits=limits)) == {"0", "1", "3", "5"}
        assert limits.tenants == {"ten_a": 2}, "the rooms that were given were used up"

    async def test_less_than_no_room_is_none(self, database: Database) -> None:
        await due_of_tenants(database, ["ten_a"])
        assert await claim(database, limits=SendLimits(tenants={"ten_a": -1}, per_tenant=5)) == {}

    async def test_without_a_limit_there_is_no_bound(self, database: Database) -> None:
        await due_of_tenants(database, ["ten_a"] * 20)
        assert len(await claim(database)) == 20

    async def test_what_a_tenant_leaves_of_a_hosts_room_is_for_others(self, database: Database) -> None:
        await due_of_tenants(database, ["ten_a", "ten_a", "ten_a", "ten_b"])
        limits = SendLimits(others=2, per_tenant=1)
        assert set(await claim(database, limits=limits)) == {"0", "3"}


class TestRetries:
    NAMES = ("a1", "a2", "a3", "a4", "a5")

    @pytest.mark.parametrize(
        ("retries", "expected"),
        [
            (None, {"a1", "a2", "a3", "a4", "a5"}),
            (9, {"a1", "a2", "a3", "a4", "a5"}),
            (2, {"a1", "a2", "a4", "a5"}),
            (1, {"a1", "a4", "a5"}),
            (0, {"a4", "a5"}),
        ],
    )
    async def test_no_more_of_them_are_claimed_than_may_be(
        self, database: Database, retries: int | None, expected: set[str]
    ) -> None:
        hosts = {name: f"{name}:443" for name in self.NAMES}
        await due_at_hosts(database, hosts, tried=frozenset({"a1", "a2", "a3"}))
        assert set(await claim(database, limits=SendLimits(others=8, retries=retries))) == expected

    async def test_with_none_allowed_they_take_no_place_in_the_batch(self, database: Database) -> None:
        hosts = {name: f"{name}:443" for name in self.NAMES}
        await due_at_hosts(database, hosts, tried=frozenset({"a1", "a2", "a3", "a4"}))
        assert set(await claim(database, limit=1, limits=SendLimits(others=8, retries=0))) == {"a5"}

    async def test_one_that_a_dead_worker_began_is_one(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443"})
        await claim(database)
        assert await claim(database, now=NOW + LEASE, limits=SendLimits(others=8, retries=0)) == {}
        assert set(await claim(database, now=NOW + LEASE, limits=SendLimits(others=8, retries=1))) == {"a1"}


async def test_what_is_busy_here_is_left_out_whatever_its_lease(database: Database) -> None:
    await due_at_hosts(database, {"a1": "a:443", "a2": "a:443"})
    assert set(await claim(database, limits=SendLimits(busy=["a1"], others=8))) == {"a2"}


class TestLeftOutBy:
    """Whether to look again as soon as an attempt has ended, since more may be due than was claimed."""

    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            (SendLimits(), False),
            (SendLimits(others=8), False),
            (SendLimits(others=2), True),
            (SendLimits(rooms={"a:443": 3}, others=2), False),
            (SendLimits(rooms={"a:443": 2}, others=8), True),
            (SendLimits(others=8, crowded=True), True),
            (SendLimits(others=8, retries=2), False),
            (SendLimits(others=8, retries=1), True),
            (SendLimits(per_tenant=3), False),
            (SendLimits(per_tenant=2), True),
            (SendLimits(tenants={"ten_a": 2}, per_tenant=8), True),
            (SendLimits(tenants={"ten_a": 3}, per_tenant=8), False),
            (SendLimits(tenants={"ten_b": 0}, per_tenant=8), True),
        ],
    )
    async def test_is_true_when_a_bound_was_reached(
        self, database: Database, limits: SendLimits, expected: bool
    ) -> None:
        """Of two claimed ones, both at one host, one is a retry."""
        await due_at_hosts(database, {"a1": "a:443", "a2": "a:443"}, tried=frozenset({"a1"}))
        claimed = list((await claim(database, limits=limits)).values())
        assert len(claimed) == 2
        assert limits.left_out_by(claimed) is expected


TENANTS = ("ten_a", "ten_b")


@given(
    due=st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(TENANTS), st.integers(0, 2)), max_size=30),
    rooms=st.dictionaries(st.sampled_from(HOSTS), st.integers(-2, 6)),
    others=st.integers(0, 6),
    tenants=st.dictionaries(st.sampled_from(TENANTS), st.integers(-2, 9)),
    per_tenant=st.none() | st.integers(0, 9),
    retries=st.none() | st.integers(0, 6),
)
def test_no_bound_is_overstepped_and_none_is_left_out_without_one(
    due: list[tuple[str, str, int]],
    rooms: dict[str, int],
    others: int,
    tenants: dict[str, int],
    per_tenant: int | None,
    retries: int | None,
) -> None:
    rows = [(f"dlv_{number}", *row) for number, row in enumerate(due)]
    limits = SendLimits(rooms=rooms, others=others, tenants=tenants, per_tenant=per_tenant, retries=retries)
    chosen = limits.fitting(rows)
    taken = [row for row in rows if row[0] in chosen]
    assert chosen == [row[0] for row in taken], "out of order, or twice"

    def full(before: list[tuple[str, str, str, int]], host: str, tenant: str) -> bool:
        of_tenant = sum(row[2] == tenant for row in before)
        return sum(row[1] == host for row in before) >= rooms.get(host, others) or (
            per_tenant is not None and of_tenant >= tenants.get(tenant, per_tenant)
        )

    for row_id, host, tenant, started in rows:
        before = [row for row in taken if int(row[0][4:]) < int(row_id[4:])]
        too_many = retries is not None and started > 0 and sum(row[3] > 0 for row in before) >= retries
        assert (row_id in chosen) is not (full(before, host, tenant) or too_many)


class TestGiveUpWaiting:
    """What waits for the breaker of a dead host is kept for so long, and then dead."""

    async def give_up(self, database: Database, *hosts: str, days: float = 5, limit: int = 100) -> int:
        now = NOW + timedelta(days=days)
        return await database.transaction(lambda unit: unit.outbox.give_up_waiting(hosts, now=now, limit=limit))

    async def dead(self, database: Database) -> set[str]:
        return {name for name, row in (await deliveries(database)).items() if row.status == "dead"}

    async def test_only_at_these_hosts_and_only_after_its_time(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443", "b1": "b:443", "c1": "c:443"})
        assert await self.give_up(database, "a:443", "b:443", days=4.99) == 0
        assert await self.give_up(database, "a:443", "b:443") == 2
        assert await self.dead(database) == {"a1", "b1"}
        buried = (await deliveries(database))["a1"]
        assert (buried.due_at, buried.finished_at, buried.fence) == (None, NOW + timedelta(days=5), 1)

    async def test_a_batch_at_a_time(self, database: Database) -> None:
        await due_at_hosts(database, {f"a{number}": "a:443" for number in range(5)})
        assert [await self.give_up(database, "a:443", limit=2) for _ in range(4)] == [2, 2, 1, 0]

    async def test_what_waits_for_its_next_attempt_is_left_alone(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443"})
        later = NOW + timedelta(days=5)
        due = (await claim(database, now=later - SECOND))["a1"]
        assert await self.give_up(database, "a:443") == 0, "it is under way"
        await record(database, due, FAILED, RETRY, now=later)
        assert await self.give_up(database, "a:443") == 0
        assert await self.dead(database) == set()

    async def test_what_has_ended_is_left_alone(self, database: Database) -> None:
        await due_at_hosts(database, {"a1": "a:443"})
        await record(database, (await claim(database))["a1"], FAILED, DEAD, now=NOW + SECOND)
        assert await self.give_up(database, "a:443") == 0


async def test_random_claims_never_overstep_a_hosts_room(database: Database) -> None:
    rng = random.Random(20260301)
    await due_at_hosts(database, {f"dlv_{number:03}": rng.choice(HOSTS) for number in range(120)})
    under_way: dict[str, str] = {}
    while len(under_way) < 120:
        rooms = {host: rng.randrange(0, 4) for host in rng.sample(HOSTS, 2)}
        others = rng.randrange(1, 4)
        limits = SendLimits(busy=under_way, rooms=rooms, others=others)
        claimed = await claim(database, limit=rng.randrange(1, 10), limits=limits)
        at = Counter(due.host for due in claimed.values())
        assert all(count <= rooms.get(host, others) for host, count in at.items())
        assert not under_way.keys() & claimed.keys()
        under_way |= {name: due.host for name, due in claimed.items()}
    assert {row.fence for row in (await deliveries(database)).values()} == {1}
