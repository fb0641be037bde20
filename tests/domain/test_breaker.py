"""The breaker: five failures in a row open it, any answer closes it, and while it is open only probes pass."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.breaker import FAILURES_TO_OPEN, Breaker

EVERY = 30.0


def breaker() -> Breaker:
    return Breaker(probe_every=timedelta(seconds=EVERY))


def opened(at: float = 0) -> Breaker:
    made = breaker()
    for _ in range(5):
        made.failed(at)
    return made


def test_a_new_one_lets_everything_pass() -> None:
    made = breaker()
    assert not made.open
    assert all(made.lets_pass(0) for _ in range(1000))


def test_the_fifth_failure_in_a_row_opens_it_and_is_told_once() -> None:
    made = breaker()
    assert [made.failed(0) for _ in range(8)] == [False] * 4 + [True] + [False] * 3
    assert made.open


@pytest.mark.parametrize("failures", range(5))
def test_an_answer_between_begins_the_count_anew(failures: int) -> None:
    made = breaker()
    for _ in range(10):
        for _ in range(failures):
            assert not made.failed(0)
        assert not made.succeeded()
    assert not made.open


def test_the_first_answer_closes_it_and_is_told_once() -> None:
    made = opened()
    assert [made.succeeded() for _ in range(3)] == [True, False, False]
    assert all(made.lets_pass(0) for _ in range(1000))


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ([0, 1, 29.9], [False, False, False]),
        ([30], [True]),
        ([30, 30, 59.9, 60, 60], [True, False, False, True, False]),
        # Nobody asked for a long time: that saves up no probes.
        ([1000, 1000, 1029, 1030], [True, False, False, True]),
    ],
    ids=str,
)
def test_while_it_is_open_one_probe_passes_in_30_seconds(asked: list[float], passed: list[bool]) -> None:
    made = opened()
    assert [made.lets_pass(at) for at in asked] == passed


def test_a_probe_that_fails_changes_nothing() -> None:
    made = opened()
    assert made.lets_pass(30)
    assert not made.failed(31)
    assert [made.lets_pass(at) for at in (59.9, 60)] == [False, True]


def test_failures_of_calls_that_were_under_way_do_not_put_off_the_probe() -> None:
    made = opened()
    for _ in range(100):
        made.failed(29)
    assert made.lets_pass(30)


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "fail", "succeed"]), st.floats(0, 40)), max_size=200)


@given(STEPS)
def test_it_is_open_exactly_after_five_failures_without_an_answer_and_never_lets_two_probes_pass_at_once(
    steps: list[tuple[str, float]],
) -> None:
    made, now, in_a_row = breaker(), 0.0, 0
    probes: list[float] = []
    for step, passed in steps:
        now += passed
        if step == "fail":
            in_a_row += 1
            assert made.failed(now) == (in_a_row == FAILURES_TO_OPEN)
        elif step == "succeed":
            assert made.succeeded() == (in_a_row >= FAILURES_TO_OPEN)
            in_a_row = 0
            probes.clear()
        elif made.lets_pass(now):
            if made.open:
                probes.append(now)
        else:
            assert made.open
        assert made.open == (in_a_row >= FAILURES_TO_OPEN)
    assert all(later - earlier >= EVERY * 0.999 for earlier, later in pairwise(probes))


@given(st.floats(0, 1e6), st.lists(st.floats(0, 1000), max_size=50))
def test_it_is_never_shut_for_longer_than_a_probes_time(at: float, passed: list[float]) -> None:
    made, now = opened(at), at
    last = at
    for seconds in passed:
        now += seconds
        if made.lets_pass(now):
            last = now
        else:
            assert now - last < EVERY * 1.001
