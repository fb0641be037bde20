"""The arithmetic of the benchmark's report, by table and property."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import SHARES, Goal, Judged, Place, Row, curve, judge, percentile, summarise
from bench.goals import GOALS
from bench.plan import GATEWAY_ONLY, MEANINGS, SIZES, WORKLOADS
from bench.report import Result, design, number, read, tables, write

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
    shown = tables(summarise(rows(gateway=[90.0, 100.0, 130.0], naive=[1.5])))
    assert "| gateway | 64 in flight | 100 ±20%    |" in shown
    assert "| naive   | 64 in flight | 1.5         |" in shown


def result(command: str, *rows: Row) -> Result:
    return Result(f"python -m bench {command}", "2026-11-23T12:00:00+00:00", {}, list(rows))


def completed(rate: float, over: float, **figures: float) -> list[Row]:
    return [
        Row("complete", "gateway", "64 in flight", {"completed/s": rate, **figures}),
        Row("complete", "floor-aiohttp", "64 in flight", {"completed/s": over}),
    ]


def test_the_table_of_the_design_takes_a_ratio_from_one_call_and_the_last_that_has_it() -> None:
    first = result("complete", *completed(10, 20, lost=1.0))
    last = result("full --only complete", *completed(300, 1000, lost=0.0, doubled=2.0))
    other = result("restart", Row("restart", "gateway", "0 watched", {"ready s": 2.0}))
    [head, _, ratio, defective] = cells(design([first, last, other]))
    assert head == ["figure", "measured", "reached", "must", "aim", "rounds", "command"]
    command = "`python -m bench full --only complete`"
    assert ratio == ["completed trainings/s ÷ floor-aiohttp", "0.3", "missed", "0.5", "0.8", "1", command]
    # What must not happen is counted over all of them.
    assert defective == ["lost, doubled, triggered again", "3", "missed", "0", "0", "2", "all of these"]


def test_the_whole_table_also_has_what_was_not_measured_and_says_a_command_once() -> None:
    rows = [Row("complete", target, "64 in flight", {"completed/s": 1.0}) for target in ("gateway", "naive", "celery")]
    found = {row[0]: row[1:] for row in cells(design([result("complete", *rows)], whole=True))[2:]}
    assert list(found) == [*[goal.name for goal in GOALS], "lost, doubled, triggered again"]
    assert found["completed trainings/s ÷ naive"] == ["1", "missed", "70", "110", "1", "`python -m bench complete`"]
    assert found["completed trainings/s ÷ celery"][-1] == "the same"
    assert found["memory of the idle process"] == ["", "", "at most 90 MB", "60 MB", "", ""]


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = result("latency", Row("latency", "gateway", "a case", {"p99 ms": 1.5}, 2, {"ms": [1.0, 2.0]}))
    write(tmp_path / "folder" / "result.json", written)
    assert read(tmp_path / "folder" / "result.json") == written


def test_what_is_no_number_is_none_in_a_file_and_no_number_again(tmp_path: Path) -> None:
    write(tmp_path / "result.json", result("latency", Row("latency", "gateway", "a case", {"p99 ms": math.nan})))
    [row] = read(tmp_path / "result.json").rows
    assert math.isnan(row.figures["p99 ms"])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=2000))
def test_a_curve_rises_and_ends_where_so_few_values_say_nothing(values: list[float]) -> None:
    found = curve(values)
    assert found == sorted(found)
    assert len(found) == sum(share <= 0.5 or len(values) * (1 - share) >= 1 for share in SHARES)


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
