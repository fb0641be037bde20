"""Shares: each tenant has room for so many, and what has ended leaves nothing behind."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.domain.shares import Shares

TENANTS = st.sampled_from(["ten_a", "ten_b", "ten_c"])


def test_each_tenant_has_room_for_its_own() -> None:
    shares = Shares(2)
    shares.started("ten_a")
    shares.started("ten_a")
    shares.started("ten_b")
    assert shares.rooms() == {"ten_a": 0, "ten_b": 1}
    assert [shares.has_room(name) for name in ("ten_a", "ten_b", "ten_c")] == [False, True, True]
    shares.ended("ten_a")
    assert (shares.rooms(), shares.has_room("ten_a")) == ({"ten_a": 1, "ten_b": 1}, True)


def test_without_a_limit_there_is_always_room() -> None:
    shares = Shares(None)
    for _ in range(1000):
        shares.started("ten_a")
    assert (shares.most, shares.rooms(), shares.has_room("ten_a")) == (None, {}, True)


@given(most=st.integers(1, 5), steps=st.lists(TENANTS, max_size=40))
def test_what_has_ended_leaves_nothing_behind(most: int, steps: list[str]) -> None:
    shares, under_way = Shares(most), Counter[str]()
    for tenant in steps:
        if shares.has_room(tenant):
            shares.started(tenant)
            under_way[tenant] += 1
        else:
            shares.ended(tenant)
            under_way[tenant] -= 1
        assert shares.rooms() == {name: most - count for name, count in under_way.items() if count}
        assert all(room >= 0 for room in shares.rooms().values())
    for tenant in under_way.elements():
        shares.ended(tenant)
    assert shares.rooms() == {}
