"""The token bucket: over whatever stretch of time, no more start than the rate times its length, and a burst."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.token_bucket import TokenBucket, TokenBuckets

RATES = st.floats(0.01, 10_000)
# As the poller makes them: never less than one token.
BURSTS = st.floats(1, 1000)


def test_it_begins_full() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(2, 0), bucket.take(2, 0), bucket.take(2, 0)] == [2, 1, 0]


def test_it_fills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert bucket.take(3, 100) == 3
    assert [bucket.take(9, at) for at in (100.05, 100.1, 100.35, 1000)] == [0, 1, 2, 3]


def test_a_part_of_a_token_is_kept() -> None:
    bucket = TokenBucket(rate=1, burst=1.5)
    assert bucket.take(9, 0) == 1
    assert [bucket.take(9, at) for at in (0.4, 0.5, 1.0, 1.5)] == [0, 1, 0, 1]


def test_what_was_not_needed_comes_back() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    assert bucket.take(5, 0) == 5
    bucket.give_back(3)
    assert bucket.take(9, 0) == 3


def test_a_clock_that_stands_still_or_goes_back_fills_nothing() -> None:
    bucket = TokenBucket(rate=10, burst=5)
    assert bucket.take(5, 100) == 5
    assert [bucket.take(1, at) for at in (100, 50)] == [0, 0]


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        pytest.param(1, 0.1, id="one"),
        pytest.param(3, 0.3, id="three"),
        pytest.param(5, 0.5, id="a full bucket"),
        pytest.param(64, 0.5, id="more than it ever holds"),
        pytest.param(0, 0, id="none"),
    ],
)
def test_it_says_how_long_until_so_many_are_there(wanted: int, seconds: float) -> None:
    bucket = TokenBucket(rate=10, burst=5)
    bucket.take(5, 0)
    assert bucket.seconds_until(wanted, 0) == pytest.approx(seconds)
    assert bucket.seconds_until(wanted, 0.1) == pytest.approx(max(0, seconds - 0.1))


@given(rate=RATES, burst=BURSTS, steps=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 200)), max_size=60))
def test_over_any_stretch_of_time_no_more_start_than_may(
    rate: float, burst: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    started: list[tuple[float, int]] = []
    for passed, wanted in steps:
        now += passed
        taken = bucket.take(wanted, now)
        assert 0 <= taken <= wanted
        started.append((now, taken))
    for first in range(len(started)):
        count = 0
        for at, taken in started[first:]:
            count += taken
            allowed = rate * (at - started[first][0]) + burst
            assert count <= allowed * (1 + 1e-9) + 1e-6


@given(
    rate=RATES,
    burst=BURSTS,
    steps=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 200), st.integers(0, 300)), max_size=60),
)
def test_what_comes_back_never_overfills_it(rate: float, burst: float, steps: list[tuple[float, int, int]]) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    for passed, wanted, back in steps:
        now += passed
        bucket.take(wanted, now)
        bucket.give_back(back)
        assert bucket.take(10_000, now) <= burst + 1e-6


@given(rate=RATES, burst=BURSTS, start=st.floats(0, 1e6), wanted=st.integers(1, 200))
def test_whoever_waits_as_long_as_it_says_gets_at_least_one(
    rate: float, burst: float, start: float, wanted: int
) -> None:
    """Even by a clock that does not move between two looks: a wait that rounds to nothing would never end."""
    bucket, now, taken = TokenBucket(rate, burst), start, 0
    while bucket.take(1, now):
        pass
    for _ in range(3):
        now += bucket.seconds_until(wanted, now)
        taken = bucket.take(wanted, now)
        if taken:
            break
    assert 1 <= taken <= math.ceil(burst)


# --- one for each name ---


def test_each_name_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(rate=2, burst=3)
    assert [buckets.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [buckets.take("b", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert [buckets.take("a", at) for at in (0.4, 0.5, 0.5)] == [pytest.approx(0.1), 0, 0.5]


def test_only_so_many_are_kept_and_the_one_used_longest_ago_is_forgotten() -> None:
    buckets = TokenBuckets(rate=1, burst=1, most=2)
    for name in ("a", "b", "a", "c"):
        buckets.take(name, 0)
    assert list(buckets._buckets) == ["a", "c"]
    assert [buckets.take(name, 0) for name in ("a", "b")] == [1, 0]


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=60))
def test_whoever_is_told_to_wait_gets_a_token_then(steps: list[tuple[str, float]]) -> None:
    buckets, now = TokenBuckets(rate=2, burst=2), 0.0
    for name, passed in steps:
        now += passed
        seconds = buckets.take(name, now)
        if seconds:
            now += seconds
            assert buckets.take(name, now) == 0
