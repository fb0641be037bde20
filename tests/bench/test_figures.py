"""The arithmetic of the benchmark's report, by table and property."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Goal, Judged, Place, Row, judge, percentile, summarise
from bench.goals import GOALS
from bench.plan import GATEWAY_ONLY, MEANINGS, SIZES, WORKLOADS
from bench.report import goals, number, tables

_SPEED = Place("gateway", "64 in flight", "completed/s")
_OTHER = Place("naive", "64 in flight", "completed/s")
_RATIO = Goal("ratio", "complete", _SPEED, _OTHER, must=10, aim=20)


def rows(**values: list[float]) -> list[Row]:
    return [
        Row("complete", target, "64 in flight", {"completed/s": value}, turn)
        for target, of_target in values.items()
        for turn, value in enumerate(of_target)
    ]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.5, 5.0),
        ([5.0], 0.99, 5.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(number) for number in range(1, 101)], 0.99, 99.0),
        ([float(number) for number in range(1, 101)], 1.0, 100.0),
        ([1.0, 2.0], 0.0, 1.0),
    ],
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_and_reached_by_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_of_nothing_there_is_no_percentile() -> None:
    assert math.isnan(percentile([], 0.99))


def test_rounds_are_summed_up_by_their_median_and_spread() -> None:
    summary = summarise(rows(gateway=[90.0, 100.0, 130.0]))["complete", "gateway", "64 in flight"]["completed/s"]
    assert (summary.median, summary.spread, summary.rounds) == (100.0, 0.4, 3)


def test_a_ratio_is_that_of_the_medians() -> None:
    [judged] = judge([_RATIO], summarise(rows(gateway=[300.0, 200.0, 100.0], naive=[10.0, 20.0, 1000.0])))
    assert judged.value == 10.0


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge([_RATIO], summarise(rows(gateway=[300.0]))) == []
    assert judge([_RATIO], summarise(rows(gateway=[300.0], naive=[0.0]))) == []


def test_a_difference_is_taken_before_the_ratio() -> None:
    added = Goal("added", "complete", _SPEED, None, must=10, aim=5, at_most=True, minus=_OTHER)
    [judged] = judge([added], summarise(rows(gateway=[100.0], naive=[93.0])))
    assert (judged.value, judged.verdict) == (7.0, "must")


@pytest.mark.parametrize(
    ("value", "at_most", "verdict"),
    [
        (20.0, False, "aim"),
        (19.9, False, "must"),
        (10.0, False, "must"),
        (9.9, False, "missed"),
        (5.0, True, "aim"),
        (5.1, True, "must"),
        (10.0, True, "must"),
        (10.1, True, "missed"),
    ],
)
def test_a_goal_is_reached_from_its_own_side(value: float, at_most: bool, verdict: str) -> None:
    goal = Goal("goal", "complete", _SPEED, None, must=10, aim=5 if at_most else 20, at_most=at_most)
    assert Judged(goal, value).verdict == verdict


def test_the_tables_show_each_target_with_its_median_and_spread() -> None:
    summaries = summarise(rows(gateway=[90.0, 100.0, 130.0], naive=[1.5]))
    shown = tables(summaries)
    assert "| gateway | 64 in flight | 100 ±20%    |" in shown
    assert "| naive   | 64 in flight | 1.5         |" in shown
    assert "66.7" in goals(judge([_RATIO], summaries))


@pytest.mark.parametrize(
    ("value", "shown"), [(1234567.8, "1,234,568"), (12.345, "12.3"), (0.01234, "0.0123"), (3.0, "3"), (math.nan, "-")]
)
def test_numbers_have_no_more_digits_than_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown


def test_every_workload_has_its_sizes_its_meaning_and_its_goals_a_workload() -> None:
    assert WORKLOADS.keys() == SIZES.keys() == MEANINGS.keys()
    assert {goal.workload for goal in GOALS} <= WORKLOADS.keys()
    assert WORKLOADS.keys() >= GATEWAY_ONLY
    assert all(goal.aim < goal.must if goal.at_most else goal.aim > goal.must for goal in GOALS)
