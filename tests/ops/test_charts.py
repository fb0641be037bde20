"""Where the parts of bars and charts lie: they add up, stay inside, and say in a sentence what they show."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ops import charts
from service.storage.overview import Sent
from tests.support.rows import NOW, a_training

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
LONGEST = 35 * MINUTE


def of_minutes(*minutes: float) -> list[timedelta]:
    return [minute * MINUTE for minute in minutes]


@given(st.integers(min_value=-60, max_value=100_000))
def test_a_bar_never_leaves_its_place(minutes: int) -> None:
    row = a_training()
    row.triggered_at = NOW - minutes * MINUTE
    row.ready_expected_from, row.ready_expected_to = row.triggered_at + 18 * MINUTE, row.triggered_at + 21 * MINUTE
    shown = charts.progress(row, NOW, LONGEST)
    assert shown is not None
    assert shown.learned is not None
    assert 0 <= shown.filled <= 100
    for place, width in (shown.usual, shown.learned):
        assert place >= 0
        assert width > 0
        assert place + width <= 100.01


def test_a_bar_is_measured_by_the_time_after_which_a_training_is_overdue() -> None:
    row = a_training()
    row.triggered_at = NOW - 7 * MINUTE
    shown = charts.progress(row, NOW, LONGEST)
    assert shown is not None
    assert (shown.filled, shown.usual, shown.learned) == (20.0, (57.14, 14.29), None)


def test_before_its_trigger_there_is_no_bar() -> None:
    row = a_training()
    row.triggered_at = None
    assert charts.progress(row, NOW, LONGEST) is None


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        ([], "No training has become ready yet."),
        ([22.2], "The one training that became ready took 22 min."),
        (
            [20, 21, 22, 23, 24],
            (
                "Of the last 5 trainings that became ready, half took less than 22 min, and eight in ten between 20 "
                "and 24 min."
            ),
        ),
    ],
)
def test_durations_are_told(minutes: list[float], said: str) -> None:
    assert charts.durations(of_minutes(*minutes)).told == said


@given(st.lists(st.floats(min_value=-5, max_value=2000, allow_nan=False), max_size=50))
def test_every_training_stands_in_one_bar(minutes: list[float]) -> None:
    chart = charts.durations(of_minutes(*minutes))
    counted = [duration for duration in of_minutes(*minutes) if duration > timedelta(0)]
    assert sum(bar.count for bar in chart.bars) == chart.count == len(counted)
    assert max(bar.height for bar in chart.bars) in {0, 1}


def test_the_usual_bars_are_those_of_20_to_25_minutes() -> None:
    assert [bar.label for bar in charts.durations([]).bars if bar.usual] == [
        "20 to 22 min",
        "22 to 24 min",
        "24 to 26 min",
    ]


def test_deliveries_stand_in_the_bar_of_how_soon_they_arrived() -> None:
    sent = [Sent(NOW, NOW, NOW + time) for time in (SECOND / 100, SECOND / 10, SECOND, MINUTE, timedelta(days=2))]
    chart = charts.latencies([*sent, Sent(NOW, NOW, None)])
    assert {bar.label: bar.count for bar in chart.bars if bar.count} == {
        "under 50 ms": 1, "under 250 ms": 1, "under 5 s": 1, "under 10 min": 1, "longer": 1, "not yet": 1,
    }  # fmt: skip
    assert chart.told == "Of the newest 6 deliveries, 2 arrived within a second of their event, 3 later, and 1 not yet."
    assert charts.latencies([]).told == "Nothing was delivered yet."
