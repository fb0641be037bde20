"""When a training is expected to be ready: PhotoGPT's word, until enough of the last ones say it better."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.expectation import FEWEST, USUAL, Expectation, expectation

MINUTE = timedelta(minutes=1)
DURATIONS = st.timedeltas(timedelta(microseconds=1), timedelta(days=1))


def test_the_usual_is_what_photogpt_says() -> None:
    assert Expectation(20 * MINUTE, 22.5 * MINUTE, 25 * MINUTE) == USUAL


@pytest.mark.parametrize("known", [0, 1, 19])
def test_nothing_is_concluded_from_a_few(known: int) -> None:
    assert expectation([MINUTE] * known) == USUAL


def test_twenty_are_enough() -> None:
    assert expectation([MINUTE] * 20) == Expectation(MINUTE, MINUTE, MINUTE)


def test_it_is_the_tenth_fiftieth_and_ninetieth_percentile_in_whatever_order() -> None:
    minutes = list(range(1, 102))
    random.Random(1).shuffle(minutes)
    assert expectation([n * MINUTE for n in minutes]) == Expectation(11 * MINUTE, 51 * MINUTE, 91 * MINUTE)


def test_a_few_that_were_seen_very_late_do_not_count() -> None:
    """As after an outage of ours."""
    found = expectation([22 * MINUTE] * 190 + [1000 * MINUTE] * 10)
    assert found == Expectation(22 * MINUTE, 22 * MINUTE, 22 * MINUTE)


@pytest.mark.parametrize("impossible", [timedelta(0), -MINUTE])
def test_a_duration_that_cannot_be_is_left_out(impossible: timedelta) -> None:
    assert expectation([MINUTE] * 19 + [impossible] * 50) == USUAL
    assert expectation([MINUTE] * 20 + [impossible] * 50).least == MINUTE


@given(durations=st.lists(DURATIONS, min_size=FEWEST, max_size=200))
def test_it_lies_within_what_was_seen_and_eight_in_ten_lie_within_it(durations: list[timedelta]) -> None:
    found = expectation(durations)
    slip = timedelta(microseconds=1)
    assert min(durations) - slip <= found.least <= found.middle <= found.most <= max(durations) + slip
    within = [took for took in durations if found.least - slip <= took <= found.most + slip]
    assert len(within) >= 0.8 * len(durations) - 1
